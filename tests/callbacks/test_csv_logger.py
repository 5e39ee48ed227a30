import pytest

from eztorch.callbacks import MetricsCSV


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "metrics.csv"


def test_metrics_csv__is_complete_after_every_writing(path):
    logger = MetricsCSV(path)
    logger.log_metrics({"loss": 1.5, "epoch": 0}, step=0)
    assert path.read_text().splitlines() == ["step,loss,epoch", "0,1.5,0"]
    logger.log_metrics({"loss": 1.0, "epoch": 0}, step=9)
    assert path.read_text().splitlines() == ["step,loss,epoch", "0,1.5,0", "9,1.0,0"]


def test_metrics_csv__joins_the_metrics_of_a_step_and_adds_columns(path):
    logger = MetricsCSV(path)
    logger.log_metrics({"loss": 1.5}, step=0)
    logger.log_metrics({"loss": 1.0}, step=9)
    logger.log_metrics({"knn": 0.5}, step=9)
    logger.log_metrics({"loss": 0.5}, step=19)
    logger.log_metrics({"loss": 0.4, "knn": 0.6}, step=19)
    assert path.read_text().splitlines() == ["step,loss,knn", "0,1.5,", "9,1.0,0.5", "19,0.4,0.6"]


def test_metrics_csv__a_continued_run_keeps_earlier_rows_and_drops_the_rest(path):
    first = MetricsCSV(path)
    for step in (0, 9, 19, 29):
        first.log_metrics({"loss": float(step)}, step=step)
    second = MetricsCSV(path)
    second.start_at(20)
    assert path.read_text().splitlines() == ["step,loss", "0,0.0", "9,9.0", "19,19.0"]
    second.log_metrics({"loss": 7.0, "new": 1.0}, step=24)
    assert path.read_text().splitlines() == ["step,loss,new", "0,0.0,", "9,9.0,", "19,19.0,", "24,7.0,1.0"]


def test_metrics_csv__without_a_training_run_adds_to_what_is_there(path):
    MetricsCSV(path).log_metrics({"loss": 1.0}, step=5)
    MetricsCSV(path).log_metrics({"test/acc_1": 0.5}, step=5)
    assert path.read_text().splitlines() == ["step,loss,test/acc_1", "5,1.0,", "5,,0.5"]


def test_metrics_csv__quotes_names_with_commas(path):
    logger = MetricsCSV(path)
    logger.log_metrics({"a,b": 1.0}, step=0)
    logger.start_at(5)
    logger.log_metrics({"a,b": 2.0}, step=5)
    assert path.read_text().splitlines() == ['step,"a,b"', "0,1.0", "5,2.0"]
