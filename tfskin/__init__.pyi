from tfskin.config import read_config as read_config
from tfskin.datasets.options import PrepareOptions as PrepareOptions
from tfskin.datasets.shards import load_shards as load_shards
from tfskin.errors import UserError as UserError
from tfskin.experiment import audit as audit
from tfskin.experiment import compare as compare
from tfskin.experiment import ensemble as ensemble
from tfskin.experiment import evaluate as evaluate
from tfskin.experiment import explain as explain
from tfskin.experiment import export as export
from tfskin.experiment import predict as predict
from tfskin.experiment import prepare as prepare
from tfskin.experiment import resume as resume
from tfskin.experiment import train as train
from tfskin.inputs import make_dataset as make_dataset
from tfskin.models import build_model as build_model
from tfskin.runs import open_run as open_run
from tfskin.schema import EnsembleConfig as EnsembleConfig
from tfskin.schema import ExperimentConfig as ExperimentConfig
from tfskin.schema import ExternalConfig as ExternalConfig
from tfskin.serving.options import ServingOptions as ServingOptions

__all__: list[str]
__version__: str
