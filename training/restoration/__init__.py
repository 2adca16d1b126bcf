"""Networks that give back a picture: what spoils frames, how such a network is trained, asked and exported."""
