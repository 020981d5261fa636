"""How much is asked of the product: little in CI, more by hand."""

import os
import random
from dataclasses import dataclass

FULL = "SAGA_PRODUCT_FULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """SAGA_PRODUCT_FULL=1 asks for all that was promised; single numbers may be set too."""

    kills: int
    sagas: int
    good_sagas: int
    seed: int
    is_full: bool

    def chance(self) -> random.Random:
        """The same for the same seed, which is shown when a test fails."""
        print(f"SAGA_PRODUCT_SEED={self.seed}")
        return random.Random(self.seed)


def is_full() -> bool:
    return os.environ.get(FULL, "0") != "0"


def scale_of_environment() -> Scale:
    drawn = random.SystemRandom().randrange(100_000)
    return Scale(
        kills=_number("SAGA_PRODUCT_KILLS", 10, 3),
        sagas=_number("SAGA_PRODUCT_SAGAS", 500, 120),
        good_sagas=_number("SAGA_PRODUCT_GOOD_SAGAS", 1000, 150),
        seed=_number("SAGA_PRODUCT_SEED", drawn, drawn),
        is_full=is_full(),
    )


def _number(variable: str, in_full: int, in_ci: int) -> int:
    return int(os.environ.get(variable) or (in_full if is_full() else in_ci))
