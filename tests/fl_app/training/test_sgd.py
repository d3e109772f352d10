import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, torch
from fl_app.training.local import local_training
from fl_app.data.tensor_dataset import ImageExamples
from fl_app.training.local.sgd import TrainingSettings
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.registry import build_model

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
examples = ImageExamples(torch.randn(640, 1, 28, 28, generator=generator), torch.zeros(640).long())
model = build_model("simple-cnn", 1)
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    local_training.local_update(
        ImageClassification(),
        model,
        get_weights(model),
        examples,
        TrainingSettings(1, 32, 0.01),
        generator,
    )
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_training_gets_its_memory_back_without_page_faults():
    command = [sys.executable, "-c", COUNT_FAULTS]

    faults = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults < 20 * 40  # without the setting 90 to 280 in each of 20 steps
