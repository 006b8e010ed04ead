"""The sections of a run's report, one class in one file each; the report is the list of them."""

from tfskin.experiment.sections.base import ReportSection
from tfskin.experiment.sections.calibration import CalibrationSection
from tfskin.experiment.sections.cases import CaseSection
from tfskin.experiment.sections.challenge import ChallengeSection
from tfskin.experiment.sections.classes import ClassSection
from tfskin.experiment.sections.data_card import DataCard
from tfskin.experiment.sections.malignant import MalignantSection
from tfskin.experiment.sections.model_card import ModelCard
from tfskin.experiment.sections.reliance import RelianceSection
from tfskin.experiment.sections.reproduction import ReproductionSection
from tfskin.experiment.sections.subgroups import SubgroupSection
from tfskin.experiment.sections.summary import SummarySection
from tfskin.experiment.sections.training import TrainingSection

SECTIONS: tuple[ReportSection, ...] = (
    SummarySection(),
    ClassSection(),
    MalignantSection(),
    CalibrationSection(),
    SubgroupSection(),
    RelianceSection(),
    CaseSection(),
    ChallengeSection(),
    TrainingSection(),
    DataCard(),
    ModelCard(),
    ReproductionSection(),
)
"""The sections in the order of the report."""
