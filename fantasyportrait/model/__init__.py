"""The network: backbone blocks, motion adapter, text and image encoders, VAE."""
