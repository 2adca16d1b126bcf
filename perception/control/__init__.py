"""Control of a running node: a socket for requests of people and programs that may change what it does."""
