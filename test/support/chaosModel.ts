// A model of the chaos stream, trained by the command line as anybody would.
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { chaosStream, makeEvents } from "./chaosStream.ts"
import { command } from "./runner.ts"

const ROWS = 4_000

/** Trains on clean events of a seed; answers the bundle's folder. */
export const trainChaosModel = (folder: string, seed = 1): string => {
  const next = makeEvents(seed, { clean: true })
  const [input, stream, bundle] = ["train.jsonl", "flows.yaml", "bundle"].map((name) => join(folder, name))
  writeFileSync(input, Array.from({ length: ROWS }, () => `${next().json}\n`).join(""))
  writeFileSync(stream, JSON.stringify(chaosStream))
  const trained = command(
    ...["train", "--stream", stream, "--features", "device", "--input", input, "--output", bundle],
    ...["--format", "json"]
  )
  if (trained.code !== 0) throw new Error(trained.stderr)
  return bundle
}
