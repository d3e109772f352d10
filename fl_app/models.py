"""Where users import models from: the model of the experiment, and how to register one."""

from fl_app.tasks.images.simple_cnn import SimpleCNN
from fl_app.tasks.registry import register_model

__all__ = ["SimpleCNN", "register_model"]
