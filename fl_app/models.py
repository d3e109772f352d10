"""Where users import models from: the model of the experiment, and how to register one."""

from fl_app.tasks.image_classification import SimpleCNN
from fl_app.tasks.registry import register_model

__all__ = ["SimpleCNN", "register_model"]
