"""All benchmarks, one after the other, into one result file.

python benchmarks --peers DIR [--data DIR] [--results DIR] [--quick]
"""

from __future__ import annotations

import accuracy
import detection
import speed

for benchmark in (speed, detection, accuracy):
    print(f"\n## {benchmark.__name__}\n", flush=True)
    benchmark.main()
