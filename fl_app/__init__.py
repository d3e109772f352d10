"""The Flower application: what runs on a participant and on the server."""
