import os
import signal

import pytest

from spineseg.learning.stopping import StopAsked


@pytest.mark.parametrize("signum", StopAsked.SIGNALS)
def test_the_first_signal_is_noted_and_the_handlers_come_back(signum):
    before = signal.getsignal(signum)
    with StopAsked() as asked:
        assert asked.signum is None
        asked.listen()
        os.kill(os.getpid(), signum)
        assert asked.signum == signum
    assert signal.getsignal(signum) is before


def test_a_second_sigterm_is_the_same_wish_and_a_ctrl_c_interrupts():
    with StopAsked() as asked:
        asked.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert asked.signum == signal.SIGTERM
