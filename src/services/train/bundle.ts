// Writes a model bundle: the graphs first, the manifest that names them by digest last, then one rename.
import { createHash } from "node:crypto"
import { chmod, mkdir, mkdtemp, open, readdir, rename, rm } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { Schema } from "effect"
import { Manifest } from "../../schema/model/Manifest.ts"
import type { TrainedModel } from "./trainModel.ts"

export interface BundleParts {
  readonly name: string
  /** RFC 3339. */
  readonly createdAt: string
  readonly seconds: number
  readonly seed: number
  readonly input: Manifest["input"]
  readonly features: Manifest["features"]
  readonly vocabularies: Manifest["vocabularies"]
  readonly population: Manifest["population"]
  /** Rows seen, and rows that could not be read. */
  readonly rows: number
  readonly skipped: number
  readonly trained: TrainedModel
}

/** The place named for the bundle holds something else; it was left as it is. */
export class PlaceTaken extends Error {}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const writeDurably = async (path: string, bytes: Uint8Array) => {
  const file = await open(path, "wx")
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Contents of a bundle by file name; `manifest.json` is the last. */
export const bundleFiles = (parts: BundleParts): ReadonlyMap<string, Uint8Array> => {
  const { trained } = parts
  const files = new Map<string, Uint8Array>()
  for (const { step, score, explain } of trained.graphs) {
    files.set(`${step}.onnx`, score)
    if (explain !== undefined) files.set(`${step}-explain.onnx`, explain)
  }
  const manifest: Manifest = {
    format: trained.reference === undefined ? "groundstate-model/1" : "groundstate-model/2",
    name: parts.name,
    createdAt: parts.createdAt,
    seed: parts.seed,
    input: parts.input,
    features: parts.features,
    vocabularies: parts.vocabularies,
    population: parts.population,
    ...(trained.reference === undefined ? {} : { reference: trained.reference }),
    graphs: trained.graphs.map(({ step, explain, calibration, firstStage, costPerRow }) => ({
      step,
      score: `${step}.onnx`,
      ...(explain === undefined ? {} : { explain: `${step}-explain.onnx` }),
      calibration,
      ...(firstStage === undefined ? {} : { firstStage }),
      costPerRow
    })),
    training: {
      rows: parts.rows,
      heldBack: trained.heldBack,
      skipped: parts.skipped,
      seconds: parts.seconds,
      prototypes: trained.prototypes
    },
    golden: trained.golden,
    files: [...files].map(([name, bytes]) => ({ name, bytes: bytes.length, sha256: sha256(bytes) }))
  }
  const text = JSON.stringify(Schema.encodeSync(Manifest)(manifest), null, 1)
  return files.set("manifest.json", new TextEncoder().encode(`${text}\n`))
}

/**
 * Writes the bundle beside its place and renames it there. A folder that holds a bundle is replaced; one that
 * holds anything else is refused with `PlaceTaken`. Answers the digest: `sha256:` and 64 hex digits.
 */
export const writeBundle = async (output: string, parts: BundleParts): Promise<string> => {
  const place = resolve(output)
  const before = await readdir(place).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined
    if (cause.code === "ENOTDIR") throw new PlaceTaken(`${output} is a file`)
    throw cause
  })
  if (before !== undefined && before.length > 0 && !before.includes("manifest.json")) {
    throw new PlaceTaken(`${output} is a folder that holds no model`)
  }
  const files = bundleFiles(parts)
  await mkdir(dirname(place), { recursive: true })
  const beside = await mkdtemp(join(dirname(place), `.${basename(place)}-`))
  try {
    for (const [name, bytes] of files) await writeDurably(join(beside, name), bytes)
    // Temporary folders are for their owner alone; a model is for whoever serves it.
    await chmod(beside, 0o755)
    if (before !== undefined) {
      // Two renames: a reader in between finds no bundle, never half of one.
      const old = `${beside}-old`
      await rename(place, old)
      await rename(beside, place)
      await rm(old, { recursive: true, force: true })
    } else await rename(beside, place)
  } finally {
    await rm(beside, { recursive: true, force: true })
  }
  return `sha256:${sha256(files.get("manifest.json") as Uint8Array)}`
}
