"""Peak resident memory of one call."""

from benchmarks.ot.bench import LARGE, MEDIUM, SMALL, label
from benchmarks.ot.reference import points, squared_distances
from benchmarks.side_by_side import print_table


def memory(bench):
    """Of each contestant; then of 100,000 points without their cost matrix."""
    size = MEDIUM if bench.options.quick else LARGE
    (warm, _), (path, cost) = bench.problem(*SMALL), bench.problem(*size)
    title = f"memory: {label(size)}, one call of 10 iterations in a fresh process, warmed at n = {SMALL[1]}"

    def rows():
        for name in bench.installed("zoo", "ott", "geomloss", "pot-torch", "pot-numpy", "pot-kernel"):
            with bench.processes(name) as processes:
                processes.ask(name, "take", "sinkhorn", warm, epsilon=0.05, iterations=10)
                processes.ask(name, "answer")
                processes.ask(name, "take", "sinkhorn", path, epsilon=0.05, iterations=10)
                before, peak, _ = (figure / 2**20 for figure in processes.ask(name, "memory"))
            above = peak - before
            yield name, f"{before:.0f}", f"{peak:.0f}", f"{above:.0f}", f"{above * 2**20 / cost.nbytes:.2f}"
            bench.keep(title, contestant=name, before_mib=before, peak_mib=peak)

    print(f"\n{title}\nThe cost has {cost.nbytes / 2**20:.0f} MiB. Memory that compiling takes is included.")
    print_table([("", 14), ("before, MiB", 14), ("peak, MiB", 14), ("above, MiB", 14), ("above / cost", 15)], rows())
    point_clouds(bench)


def point_clouds(bench):
    """Of `point_cloud_sinkhorn` with many points."""
    # The large run takes minutes: it is left to those who ask for this section.
    many, iterations = (100_000 if bench.options.long else 10_000), 5
    few = many // 10
    print(f"\nmemory: point_cloud_sinkhorn in R^2, {iterations} iterations, epsilon = 0.05 mean(C); target: under 2 GB")
    for n in (few, many):
        source, target = (array.astype("float32") for array in points(0, n, dimension=2))
        epsilon = 0.05 * float(squared_distances(source[:1000], target[:1000]).mean())
        path = bench.write("points", source=source, target=target)
        with bench.processes("zoo") as processes:
            processes.ask("zoo", "take", "point_cloud", path, epsilon=epsilon, iterations=iterations)
            before, peak, seconds = processes.ask("zoo", "memory")
            again = processes.ask("zoo", "turn", 0.0) if n == few else None
        whole = f"the cost matrix alone would take {4 * n * n / 1e9:.1f} GB"
        print(f"n = {n}: {seconds:.1f} s, {peak / 1e9:.2f} GB in all, {before / 1e9:.2f} before; {whole}", flush=True)
        bench.keep("memory: point cloud", n=n, seconds=seconds, peak_bytes=peak, before_bytes=before)
        if again:
            print(f"n = {many} has 100 times as many pairs: expect {100 * again / 60:.1f} minutes.", flush=True)
