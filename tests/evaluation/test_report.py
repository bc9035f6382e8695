import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from ich_keras.evaluation.report import write_report
from ich_keras.evaluation.summary import summarise
from ich_keras.run.folder import RunError, RunFolder
from ich_keras.scores.cases import make_cases
from ich_keras.scores.metrics import evaluate_scores
from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import InputError

ONE_PIXEL = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    labels = np.zeros((2000, 6), int)
    labels[:, :5] = rng.random((2000, 5)) < 0.08
    labels[:, 5] = labels.any(axis=1)
    probabilities = 1 / (1 + np.exp(-(6 * labels - 3 + rng.normal(size=labels.shape))))
    patients = np.arange(2000) // 20
    scores = evaluate_scores(make_cases(labels, probabilities, patients, draws=100), 0.5)
    return scores | {"size": 128, "checkpoint_step": 700}


@pytest.fixture
def run(tmp_path, scores):
    run = tmp_path / "a-run"
    for folder in ("evaluation", "figures"):
        (run / folder).mkdir(parents=True)
    (run / "evaluation/val.json").write_text(json.dumps(scores), encoding="utf-8")
    for name in ("curves", "class_grid_100", "class_grid_90", "roc_val", "class_maps_val"):
        (run / f"figures/{name}.png").write_bytes(ONE_PIXEL)
    (run / "history.csv").write_text(
        "step,seconds,loss\n10,1.5,0.2\n700,95.4,0.1\n", encoding="utf-8"
    )
    (run / "experiment.yaml").write_text(
        "name: <demo>\ndata:\n  shards: /home/somebody/shards\n  size: 128\n", encoding="utf-8"
    )
    (run / "environment.json").write_text('{"python": "3.11.2", "seed": 5}', encoding="utf-8")
    return run


def report(folder: Path) -> Path:
    return write_report(RunFolder(folder))


def test_the_report_of_a_read_only_run_lies_elsewhere_with_its_notice(run, tmp_path, scores):
    results = RunFolder(run, tmp_path / "results")
    results.evaluation.mkdir(parents=True)
    (results.evaluation / "mine.json").write_text(json.dumps(scores), encoding="utf-8")
    (run / "notice.txt").write_text("It never saw a patient.\n", encoding="utf-8")
    before = sorted(run.rglob("*"))
    page = read(write_report(results))
    assert "It never saw a patient." in page
    assert "“mine”" in page and "“val”" not in page
    assert sorted(run.rglob("*")) == before


def test_sessions_are_rows_of_what_differs_from_the_start(run):
    start = {"python": "3.11.2", "packages": {"keras": "3.5"}, "precision": "float32"}
    sessions = [
        start | {"step": 0},
        start | {"step": 4000, "packages": {"keras": "3.6"}, "precision": "mixed_bfloat16"},
    ]
    content = start | {"seed": 5, "sessions": sessions}
    (run / "environment.json").write_text(json.dumps(content), encoding="utf-8")
    rows = {row[0][0]: row[1] for row in Page(read(report(run))).rows if len(row) == 2}
    assert rows["packages.keras"] == ["3.5"]
    assert rows["session 1, from step 0"] == ["as at the start"]
    changed = ["packages.keras 3.6; precision mixed_bfloat16"]
    assert rows["session 2, from step 4,000"] == changed


def test_mappings_in_a_list_are_numbered(run):
    callbacks = "training:\n  callbacks:\n  - path: a.B\n    arguments: {log_freq: epoch}\n"
    (run / "experiment.yaml").write_text(f"name: x\n{callbacks}", encoding="utf-8")
    rows = {row[0][0]: row[1] for row in Page(read(report(run))).rows if len(row) == 2}
    assert rows["training.callbacks.1.path"] == ["a.B"]
    assert rows["training.callbacks.1.arguments.log_freq"] == ["epoch"]


@pytest.mark.parametrize("name", ["environment.json", "experiment.yaml", "evaluation/val.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_file_is_named_in_one_line(run, name, content):
    (run / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        report(run)
    assert str(refused.value).startswith(f"{run / name}: ")
    assert len(str(refused.value).splitlines()) == 1


class Page(HTMLParser):
    """Tables as rows of texts, the sources that the page loads, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.sources, self.tags, self.headings = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.tag = tag
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append([])

    def handle_data(self, data):
        if not data.strip():
            return
        if self.tag in ("h2", "h3"):
            self.headings.append(data.strip())
        elif self.tag in ("td", "th", "small"):
            self.rows[-1][-1].append(data.strip())


def read(path):
    return path.read_text(encoding="utf-8")


def test_the_tables_hold_the_figures_of_the_json(run, scores):
    page = Page(read(report(run)))
    rows = {row[0][0]: row[1:] for row in page.rows if row and row[0]}

    def shown(estimate):
        return [f"{estimate['value']:.3f}", "{:.3f} to {:.3f}".format(*estimate["interval"])]

    def percent(share):  # of no errors there is none
        return "-" if share is None else f"{100 * share:.1f} %"

    def errors(count, rate):
        return [f"{count}", percent(rate)]

    for label in LABELS:
        assert rows[label] == [
            [f"{scores['positives'][label]}"],
            shown(scores["auc"][label]),
            shown(scores["sensitivity"][label]),
            shown(scores["specificity"][label]),
            errors(scores["false_negatives"][label], scores["false_negative_rate"][label]),
            errors(scores["false_positives"][label], scores["false_positive_rate"][label]),
            [percent(scores["type_1_share"][label])],
            shown(scores["accuracy"][label]),
            [f"{scores['always_negative_accuracy'][label]:.3f}"],
            shown(scores["average_precision"][label]),
        ]
    assert rows["mean AUC"][:2] == [shown(scores["mean_auc"]), ["0.500"]]
    assert rows["accuracy"][:2] == [
        [f"{scores['accuracy_mean']:.4f}"],
        [f"{scores['always_negative_accuracy_mean']:.4f}"],
    ]
    assert rows["weighted log loss"][0][0] == f"{scores['weighted_log_loss']:.3f}"
    assert rows["weighted log loss"][1] == [f"{scores['prior_weighted_log_loss']:.3f}"]
    assert rows["Brier score"][:2] == [[f"{scores['brier']:.4f}"], [f"{scores['prior_brier']:.4f}"]]


def test_a_training_that_collapsed_is_reported(run):
    assert "depend on" not in read(report(run))
    (run / "history.csv").write_text(
        "step,seconds,loss,val_loss,warning\n"
        "10,1,.2,.2,always negative\n20,2,.2,,\n30,3,.2,.1,\n40,4,.2,.3,always negative\n",
        encoding="utf-8",
    )
    warning = "At 2 of 3 validations during training, the predictions did not depend on the slice"
    assert f"{warning}, last at step 40: always negative." in read(report(run))


def test_the_page_needs_no_other_file_and_shows_no_path(run):
    text = read(report(run))
    page = Page(text)
    assert len(page.sources) == 4
    assert all(x.startswith("data:image/png;base64,") for x in page.sources)
    assert not page.tags & {"script", "link", "iframe"}
    assert "somebody" not in text
    assert str(run.parent) not in text
    assert "&lt;demo&gt;" in text
    assert "For research, not for diagnosis" in text


def test_the_class_grid_of_the_latest_step_is_shown_until_a_split_has_its_own(run):
    headings = Page(read(report(run))).headings
    assert "Class grid, step 100" in headings
    assert "ROC, precision and recall, “val”" in headings
    (run / "figures/class_grid_val.png").write_bytes(ONE_PIXEL)
    headings = [x for x in Page(read(report(run))).headings if x.startswith("Class grid")]
    assert headings == ["Class grid, “val”"]


def test_the_same_run_gives_the_same_page(run):
    first = report(run).read_bytes()
    assert report(run).read_bytes() == first


def test_a_run_without_evaluation_says_so(tmp_path):
    text = read(report(tmp_path))
    assert "Not scored yet" in text
    assert "There are no figures yet" in text
    assert "Experiment: not recorded." in text


def test_no_folder_is_an_error_of_one_line(tmp_path):
    with pytest.raises(RunError, match="no such run folder"):
        report(tmp_path / "nowhere")


def test_undefined_scores_are_a_dash(run, scores):
    changed = json.loads(json.dumps(scores))
    changed["auc"]["epidural"] = {"value": None, "interval": None}
    changed["warnings"] = ["epidural: no positive slice, so it has no AUC"]
    (run / "evaluation/val.json").write_text(json.dumps(changed), encoding="utf-8")
    text = read(report(run))
    row = next(row for row in Page(text).rows if row[0] == ["epidural"])
    assert row[2] == ["-"]
    assert "<li>epidural: no positive slice" in text
    assert "not shown to be better than chance on: epidural." in text


def test_pictures_beyond_the_limit_are_named(run):
    (run / "figures/roc_val.png").write_bytes(np.random.default_rng(0).bytes(6_000_000))
    path = report(run)
    assert path.stat().st_size < 8_000_000
    assert re.search(r"Too large for this page.*roc_val\.png", read(path))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ([0.01, 0.02], "The network is better than always predicting “no”:"),
        ([-0.01, 0.02], "The network is not shown to be better than always predicting “no”:"),
        ([-0.02, -0.01], "The network is worse than always predicting “no”:"),
        (None, "It is not known whether the network is better than always predicting “no”:"),
    ],
)
def test_the_summary_follows_the_interval(scores, interval, verdict):
    changed = scores | {"accuracy_gain": {"value": 0.0, "interval": interval}}
    assert summarise(changed, "val")[0].startswith(verdict)


def test_the_summary_has_counts_and_names_its_data(scores):
    summary = " ".join(summarise(scores, "val"))
    missed, positives = scores["false_negatives"]["any"], scores["positives"]["any"]
    assert f"misses {missed} of {positives} slices with a hemorrhage" in summary
    assert "2,000 slices of 100 patients" in summary
    assert "chosen on this split" in summary
    assert "chosen on this split" not in " ".join(summarise(scores, "test"))


@pytest.mark.parametrize(
    ("specificity", "end"),
    [
        (0.947, "94.7 % of the studies without raise no alarm"),
        (None, "there are no studies without"),
    ],
)
def test_the_summary_needs_no_study_without_a_hemorrhage(scores, specificity, end):
    point = {
        "sensitivity": {"value": 0.9, "interval": [0.8, 1.0]},
        "specificity": {"value": specificity, "interval": None},
    }
    points = {"study": {"sensitivity_95": {"any": point}}}
    summary = " ".join(summarise(scores | {"operating_points": points}, "test"))
    assert "it detects 90.0 % (80.0 % to 100.0 %) of the studies with a hemorrhage" in summary
    assert end in summary


def test_the_summary_is_of_the_test_split_if_it_was_scored(run, scores):
    (run / "evaluation/test.json").write_text(json.dumps(scores), encoding="utf-8")
    (run / "figures/roc_test.png").write_bytes(ONE_PIXEL)
    text = read(report(run))
    assert "“test”; intervals" in text
    assert "ROC, precision and recall, “test”" in Page(text).headings


def test_scores_of_an_older_checkpoint_are_marked_and_not_summarised(run, scores):
    """The test split was scored at step 500; since then another checkpoint is the best."""
    test = scores | {"checkpoint_step": 500, "accuracy_mean": 0.1234}
    (run / "evaluation/test.json").write_text(json.dumps(test), encoding="utf-8")
    (run / "figures/roc_test.png").write_bytes(ONE_PIXEL)
    (run / "last").mkdir()
    position = {"step": 700, "best_step": 700}
    (run / "last/position.json").write_text(json.dumps(position), encoding="utf-8")
    text = read(report(run))
    summary = text.partition('aria-label="Summary"')[2].partition("</section>")[0]
    assert "checkpoint of step 700" in summary
    assert "“val”; intervals" in summary and "12.3 %" not in summary
    headings = Page(text).headings
    assert headings.index("Scores, “val”, checkpoint of step 700") < headings.index(
        "Scores, “test”, checkpoint of step 500"
    )
    stale = "not of the best checkpoint, which is now that of step 700"
    assert text.count(stale) == 1  # at the scores of test
    assert "ROC, precision and recall, “val”" in headings


def test_a_summary_of_an_older_checkpoint_says_so(run, scores):
    (run / "last").mkdir()
    position = {"step": 900, "best_step": 900}
    (run / "last/position.json").write_text(json.dumps(position), encoding="utf-8")
    text = read(report(run))
    stale = "not of the best checkpoint, which is now that of step 900"
    summary = text.partition('aria-label="Summary"')[2].partition("</section>")[0]
    assert stale in summary
    assert text.count(stale) == 4  # the summary, the scores, and both pictures of them


def test_two_runs_are_compared_by_named_checkpoints(run):
    (run / "comparisons").mkdir()
    both = {"first": 0.9, "second": 0.8, "difference": {"value": 0.1, "interval": None}}
    compared = {"split": "val", "against": "other", "scores": {"mean_auc": both}}
    steps = {"checkpoint_step": 700, "against_checkpoint_step": 1300}
    path = run / "comparisons/val.json"
    path.write_text(json.dumps(compared | steps), encoding="utf-8")
    text = " ".join(read(report(run)).split())
    assert "Checkpoints of step 700 of this run and of step 1,300 of the other." in text
    path.write_text(json.dumps(compared), encoding="utf-8")
    assert "The checkpoints were not recorded." in read(report(run))


def test_the_worst_errors_of_every_set_are_shown(run, scores):
    (run / "evaluation/hospital-a.json").write_text(json.dumps(scores), encoding="utf-8")
    for name in ("val", "hospital-a"):
        (run / f"figures/errors_{name}.png").write_bytes(ONE_PIXEL)
    headings = Page(read(report(run))).headings
    assert {"The worst errors, “val”", "The worst errors, “hospital-a”"} <= set(headings)
