"""A trained detector that goes on listening: bundle with its log, alarms that persist."""

from asdlib.monitoring.alarms import (
    alarm_begins,
    alarm_rate,
    alarms_by_settings,
    choose_k,
    days_to_alarm,
    machine_to_rehearse,
    persistent_alarms,
    plan_growth,
    rehearse_growth,
)
from asdlib.monitoring.bundle import load_bundle, read_log, save_bundle, trend
from asdlib.monitoring.detector import Detector, level_above_normal
