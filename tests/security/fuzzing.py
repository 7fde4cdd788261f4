"""How long the fuzz targets run: `scripts/soak --fuzz N`; a few examples in the ordinary run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

EXAMPLES = int(os.environ.get("SSHMUX_FUZZ", "100"))

# Without a database each run is another one; what fails prints how to run it again.
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
