"""Do a bundle's graphs answer the same in Python's ONNX Runtime? python3 bench/parity.py BUNDLE
Needs onnxruntime and numpy. Compares the golden rows' energies with the manifest's, and the explain graph with
the score graph: at most 1e-4 absolute or 1e-5 relative. Exits with 1 where they differ, 2 where it cannot look."""

import hashlib
import json
import pathlib
import sys

ABSOLUTE = 1e-4
RELATIVE = 1e-5


def main(folder: pathlib.Path) -> int:
    try:
        import numpy
        import onnxruntime
    except ImportError as missing:
        print(f"{missing}: install onnxruntime and numpy to compare", file=sys.stderr)
        return 2
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        if hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest() != file["sha256"]:
            print(f"{file['name']} is not the file that the manifest names", file=sys.stderr)
            return 1
    rows = numpy.array(
        [[numpy.nan if value is None else value for value in row] for row in manifest["golden"]["rows"]],
        dtype=numpy.float32,
    )

    def run(name: str) -> dict:
        session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"rows": rows})))

    failed = 0

    def compare(what: str, found, expected) -> None:
        nonlocal failed
        difference = numpy.abs(found.astype(numpy.float64) - expected)
        beyond = difference > numpy.maximum(ABSOLUTE, RELATIVE * numpy.abs(expected))
        failed += int(beyond.sum())
        print(f"{what}: {difference.max():.2e} at most, {'differs' if beyond.any() else 'the same'}")

    for at, graph in enumerate(manifest["graphs"]):
        energy = run(graph["score"])["energy"]
        if at == 0:
            compare(f"{graph['score']} and the manifest", energy, numpy.array(manifest["golden"]["energies"]))
        if "explain" in graph:
            compare(f"{graph['explain']} and {graph['score']}", run(graph["explain"])["energy"], energy)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(pathlib.Path(sys.argv[1])))
