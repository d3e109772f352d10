"""The contract of tasks: what every task obeys, to check yours against.

scripts/contract task "/home/me/my_task.py:MyTask(width=64)"
"""

from fl_app.contract import data_laws, loss_laws, model_laws
from strategies.contract.laws import Law

LAWS = (
    Law("its data is the same each time", data_laws.loads_the_same_each_time),
    Law("training and test data have one form", data_laws.has_data_of_one_form),
    Law("each example has a label and an owner, or none", data_laws.counts_its_labels_and_owners),
    Law("what a saved model says is made of texts", data_laws.says_texts_of_itself),
    Law("model, loss and metrics fit the data", loss_laws.fits_its_data, ends=True),
    Law("a sum and a weight for each metric", loss_laws.measures_what_it_names),
    Law("metrics merge: any batching gives the same", loss_laws.has_metrics_that_merge),
    Law("the loss merges by its weight", loss_laws.has_a_loss_that_merges),
    Law("the loss is a mean", loss_laws.has_a_loss_that_is_a_mean),
    Law("the order of examples does not matter", data_laws.does_not_see_the_order),
    Law("examples stay as they are", data_laws.leaves_examples_as_they_are),
    Law("one seed gives the same initial weights", model_laws.begins_alike),
    Law("one seed gives the same local update", model_laws.trains_alike),
    Law("what is federated is the same everywhere", model_laws.federates_the_same),
    Law("frozen parameters stay as they are", model_laws.leaves_frozen_parameters),
    Law("weights and file hold the whole model", model_laws.comes_back_from_its_weights),
    Law("gradients reach every parameter", model_laws.reaches_every_parameter, needed=False),
    Law("the loss falls", model_laws.can_learn, needed=False),
)
