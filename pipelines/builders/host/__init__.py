"""The host builder: images from source without a daemon, out of this installation and wheels."""
