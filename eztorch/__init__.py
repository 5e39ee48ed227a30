"""Self-supervised and supervised learning on video and images with Hydra and PyTorch Lightning.

Importing this package imports nothing else: the command line answers without torch.
"""

__version__ = "0.1.0"
