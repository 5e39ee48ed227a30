from tiny_run import TinyModule, fit

from eztorch.callbacks import NetworkSummary
from eztorch.callbacks.network_summary import summary


def test_network_summary__tells_the_parts_and_what_learns_once(tmp_path, caplog, capsys):
    caplog.set_level("INFO")
    module = TinyModule()
    module.trunk[0].requires_grad_(False)
    fit(tmp_path, [NetworkSummary()], module=module, max_epochs=1, enable_model_summary=True)
    expected = (
        "trunk      Sequential  66 parameters, 12 of them learn\n"
        "projector  Linear      28 parameters\n"
        "40 of 94 parameters learn"
    )
    told = "\n".join(caplog.messages) + capsys.readouterr().out
    assert told.count(expected) == 1
    assert "FLOPs" not in told


def test_network_summary__of_parts_that_do_not_learn():
    module = TinyModule()
    module.requires_grad_(False)
    assert summary(module).splitlines() == [
        "trunk      Sequential  66 parameters, none of them learn",
        "projector  Linear      28 parameters, none of them learn",
        "0 of 94 parameters learn",
    ]
