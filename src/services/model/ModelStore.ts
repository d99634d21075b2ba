// Keeps model bundles by digest in a folder, and names for them; gives out only bytes that it has checked.
import { createHash } from "node:crypto"
import { constants } from "node:fs"
import { lstat, mkdir, mkdtemp, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { basename, join, resolve } from "node:path"
import { Context, Effect, Layer, Schema } from "effect"
import { ModelRefused } from "../../schema/error/ModelError.ts"
import { bundleLimits, Manifest, type ModelBundle } from "../../schema/model/Manifest.ts"
import { Settings } from "../runtime/Settings.ts"
import { admit, Inadmissible } from "./admit.ts"

const MANIFEST = "manifest.json"
const ALIASES = "aliases.json"
/** `<model name>@<alias>` → digest. */
const Aliases = Schema.Record({
  key: Schema.String,
  value: Schema.String.pipe(Schema.pattern(/^sha256:[0-9a-f]{64}$/))
})

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** What the store knows of one bundle without opening it. */
export interface StoredModel {
  readonly digest: string
  readonly manifest: Manifest
}

export interface ModelAlias {
  readonly name: string
  readonly alias: string
  readonly digest: string
}

const refuse = (model: string, reason: ModelRefused["reason"], detail: string) =>
  new ModelRefused({ model, reason, detail })

/** Reads a plain file of at most `bytesMax` bytes through one descriptor; a link is not followed. */
const readPlain = async (model: string, dir: string, name: string, bytesMax: number): Promise<Uint8Array> => {
  const file = await open(join(dir, name), constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause) => {
    const { code } = cause as NodeJS.ErrnoException
    if (code === "ENOENT") throw refuse(model, "missing-file", `${name} is not there`)
    if (code === "ELOOP") throw refuse(model, "unexpected-file", `${name} is a link`)
    throw refuse(model, "store", `${name} cannot be read (${(cause as Error).message})`)
  })
  try {
    const { size } = await file.stat()
    if (size > bytesMax)
      throw refuse(model, "too-large", `${name} has ${size} bytes, at most ${bytesMax} are read`)
    const bytes = new Uint8Array(size)
    let at = 0
    while (at < size) {
      const { bytesRead } = await file.read(bytes, at, size - at, at)
      if (bytesRead === 0) throw refuse(model, "digest-mismatch", `${name} shrank while it was read`)
      at += bytesRead
    }
    return bytes
  } finally {
    await file.close()
  }
}

const decodeManifest = (model: string, bytes: Uint8Array): Manifest => {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    return Schema.decodeUnknownSync(Manifest)(JSON.parse(text))
  } catch (cause) {
    throw refuse(model, "bad-manifest", `${MANIFEST}: ${(cause as Error).message}`)
  }
}

/** Rules of a manifest that its schema cannot say. */
const checkManifest = (model: string, manifest: Manifest): void => {
  const bad = (detail: string) => refuse(model, "bad-manifest", detail)
  const names = new Set(manifest.files.map((file) => file.name))
  if (manifest.files.length > bundleLimits.filesMax)
    throw refuse(model, "too-large", `it names ${manifest.files.length} files`)
  if (names.size !== manifest.files.length || names.has(MANIFEST))
    throw bad("it names a file twice, or itself")
  const steps = new Set(manifest.graphs.map((graph) => graph.step))
  if (steps.size !== manifest.graphs.length) throw bad("two graphs answer for one step")
  for (const graph of manifest.graphs) {
    for (const name of [graph.score, ...(graph.explain === undefined ? [] : [graph.explain])]) {
      if (!names.has(name)) throw bad(`it has no file ${name}`)
    }
    const { energies, tailFrom, tailScale, tailShape } = graph.calibration
    const ascending = energies.every(
      (energy, at) => Number.isFinite(energy) && (at === 0 || energies[at - 1] <= energy)
    )
    if (energies.length === 0 || !ascending) throw bad("calibration energies must be finite and ascend")
    if (!Number.isFinite(tailFrom) || !(tailScale > 0) || !(tailShape >= 0))
      throw bad("the calibration's tail is no distribution")
  }
  const { rows, energies } = manifest.golden
  if (rows.length !== energies.length || rows.some((row) => row.length !== manifest.features.length)) {
    throw bad("golden rows do not fit the features")
  }
}

const readBundleFiles = async (dir: string): Promise<ModelBundle> => {
  const folder = await lstat(dir).catch(() => undefined)
  if (folder === undefined) throw refuse(dir, "missing-file", "there is no such folder")
  if (!folder.isDirectory()) throw refuse(dir, "unexpected-file", "it is no folder")
  const manifestBytes = await readPlain(dir, dir, MANIFEST, bundleLimits.manifestBytesMax)
  const digest = `sha256:${sha256(manifestBytes)}`
  const manifest = decodeManifest(dir, manifestBytes)
  checkManifest(dir, manifest)
  const named = new Set([MANIFEST, ...manifest.files.map((file) => file.name)])
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (!entry.isFile()) throw refuse(dir, "unexpected-file", `${entry.name} is no plain file`)
    if (!named.has(entry.name)) throw refuse(dir, "unexpected-file", `${entry.name} is not in the manifest`)
  }
  const files = new Map<string, Uint8Array>()
  for (const { name, bytes, sha256: expected } of manifest.files) {
    const content = await readPlain(dir, dir, name, bundleLimits.fileBytesMax)
    const actual = sha256(content)
    if (content.length !== bytes || actual !== expected) {
      throw refuse(dir, "digest-mismatch", `${name} has digest ${actual}, the manifest says ${expected}`)
    }
    files.set(name, content)
  }
  const bundle = { digest, manifest, files }
  admitBundle(bundle)
  return bundle
}

/** Checks every graph of a bundle. Throws `ModelRefused`. */
export const admitBundle = ({ digest, manifest, files }: ModelBundle): void => {
  const width = manifest.features.length
  for (const graph of manifest.graphs) {
    try {
      admit(files.get(graph.score) as Uint8Array, "score", width)
      if (graph.explain !== undefined) admit(files.get(graph.explain) as Uint8Array, "explain", width)
    } catch (cause) {
      if (cause instanceof Inadmissible) throw refuse(digest, cause.reason, cause.message)
      throw cause
    }
  }
}

const attempt = <A>(model: string, run: () => Promise<A>): Effect.Effect<A, ModelRefused> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) =>
      cause instanceof ModelRefused ? cause : refuse(model, "store", (cause as Error).message)
  })

/**
 * Reads a bundle once and checks it: sizes, plain files, nothing besides what the manifest names, digests and
 * graphs. What it answers are the very bytes that were checked.
 */
export const readBundle = (dir: string): Effect.Effect<ModelBundle, ModelRefused> =>
  attempt(dir, () => readBundleFiles(dir))

const writeSynced = async (path: string, bytes: Uint8Array): Promise<void> => {
  const file = await open(path, "wx")
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Makes a rename in the folder outlive a power cut. */
const syncFolder = async (dir: string): Promise<void> => {
  const folder = await open(dir, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

const hexOf = (digest: string): string | undefined => /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1]

/** A folder of bundles: `<root>/<64 hex digits>/`, and `aliases.json`. Only one process writes aliases. */
export class ModelStore extends Context.Tag("groundstate/services/model/ModelStore")<
  ModelStore,
  {
    readonly root: string
    /** Reads and checks a bundle anywhere. */
    readonly read: (dir: string) => Effect.Effect<ModelBundle, ModelRefused>
    /** Checks a bundle and copies it in; answers what it is called here. Installing it again changes nothing. */
    readonly install: (dir: string) => Effect.Effect<StoredModel, ModelRefused>
    /** The bundle with this digest, checked anew; undefined if there is none. */
    readonly get: (digest: string) => Effect.Effect<ModelBundle | undefined, ModelRefused>
    /** The files of the bundle with this digest by name, its manifest among them, checked; undefined if there is none. */
    readonly pack: (
      digest: string
    ) => Effect.Effect<ReadonlyMap<string, Uint8Array> | undefined, ModelRefused>
    /** Installs a bundle from its files. */
    readonly unpack: (files: ReadonlyMap<string, Uint8Array>) => Effect.Effect<StoredModel, ModelRefused>
    /** Every bundle held, newest first; one whose manifest is broken is left out. */
    readonly list: Effect.Effect<ReadonlyArray<StoredModel>, ModelRefused>
    readonly aliases: Effect.Effect<ReadonlyArray<ModelAlias>, ModelRefused>
    /** Digest behind `<name>@<alias>`; undefined if nobody set it. */
    readonly alias: (name: string, alias: string) => Effect.Effect<string | undefined, ModelRefused>
    /** Durable once this completes. */
    readonly setAlias: (name: string, alias: string, digest: string) => Effect.Effect<void, ModelRefused>
  }
>() {
  /** A store in a folder, which is made if it is not there. */
  static readonly layerAt = (root: string): Layer.Layer<ModelStore, ModelRefused> =>
    Layer.effect(ModelStore, makeStore(resolve(root)))

  /** The store in `models` of the runner's data folder. */
  static readonly layer: Layer.Layer<ModelStore, ModelRefused, Settings> = Layer.effect(
    ModelStore,
    Effect.flatMap(Settings, (settings) => makeStore(resolve(settings.dataDir, "models")))
  )
}

const makeStore = (root: string): Effect.Effect<typeof ModelStore.Service, ModelRefused> =>
  Effect.gen(function* () {
    yield* attempt(root, () => mkdir(root, { recursive: true }))
    const turn = yield* Effect.makeSemaphore(1)

    const readAliases = async () => {
      const text = await readFile(join(root, ALIASES), "utf8").catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === "ENOENT") return "{}"
        throw cause
      })
      return Schema.decodeUnknownSync(Aliases)(JSON.parse(text))
    }

    const replaceFile = async (name: string, bytes: Uint8Array) => {
      const beside = await mkdtemp(join(root, ".write-"))
      try {
        await writeSynced(join(beside, name), bytes)
        await rename(join(beside, name), join(root, name))
        await syncFolder(root)
      } finally {
        await rm(beside, { recursive: true, force: true })
      }
    }

    const installFiles = async (dir: string): Promise<StoredModel> => {
      const bundle = await readBundleFiles(dir)
      const place = join(root, hexOf(bundle.digest) as string)
      const stored = { digest: bundle.digest, manifest: bundle.manifest }
      if ((await lstat(place).catch(() => undefined)) !== undefined) return stored
      const manifestBytes = await readPlain(dir, dir, MANIFEST, bundleLimits.manifestBytesMax)
      if (`sha256:${sha256(manifestBytes)}` !== bundle.digest) {
        throw refuse(dir, "digest-mismatch", `${MANIFEST} changed while it was read`)
      }
      const beside = await mkdtemp(join(root, ".install-"))
      try {
        for (const [name, bytes] of bundle.files) await writeSynced(join(beside, name), bytes)
        await writeSynced(join(beside, MANIFEST), manifestBytes)
        await syncFolder(beside)
        await rename(beside, place).catch((cause: NodeJS.ErrnoException) => {
          // Somebody else installed the same bytes meanwhile.
          if (cause.code !== "ENOTEMPTY" && cause.code !== "EEXIST") throw cause
        })
        await syncFolder(root)
      } finally {
        await rm(beside, { recursive: true, force: true })
      }
      return stored
    }

    const listFiles = async (): Promise<ReadonlyArray<StoredModel>> => {
      const found: Array<StoredModel> = []
      for (const entry of await readdir(root, { withFileTypes: true })) {
        if (!entry.isDirectory() || !/^[0-9a-f]{64}$/.test(entry.name)) continue
        try {
          const bytes = await readPlain(
            entry.name,
            join(root, entry.name),
            MANIFEST,
            bundleLimits.manifestBytesMax
          )
          if (sha256(bytes) !== entry.name) continue
          found.push({ digest: `sha256:${entry.name}`, manifest: decodeManifest(entry.name, bytes) })
        } catch (cause) {
          if (!(cause instanceof ModelRefused)) throw cause
        }
      }
      return found.sort((a, b) => (a.manifest.createdAt < b.manifest.createdAt ? 1 : -1))
    }

    const getFiles = async (digest: string): Promise<ModelBundle | undefined> => {
      const hex = hexOf(digest)
      if (hex === undefined) return undefined
      const dir = join(root, hex)
      if ((await lstat(dir).catch(() => undefined)) === undefined) return undefined
      const bundle = await readBundleFiles(dir)
      if (bundle.digest === digest) return bundle
      throw refuse(digest, "digest-mismatch", `the manifest in the store has digest ${bundle.digest}`)
    }

    const packFiles = async (digest: string) => {
      const bundle = await getFiles(digest)
      if (bundle === undefined) return undefined
      const dir = join(root, hexOf(digest) as string)
      const manifest = await readPlain(dir, dir, MANIFEST, bundleLimits.manifestBytesMax)
      if (`sha256:${sha256(manifest)}` !== digest)
        throw refuse(digest, "digest-mismatch", `${MANIFEST} changed while it was read`)
      return new Map([...bundle.files, [MANIFEST, manifest]])
    }

    /** Names may come from anywhere: none leads out of the folder. */
    const unpackFiles = async (files: ReadonlyMap<string, Uint8Array>): Promise<StoredModel> => {
      const beside = await mkdtemp(join(root, ".unpack-"))
      try {
        for (const [name, bytes] of files) {
          if (basename(name) !== name || name.startsWith("."))
            throw refuse(name, "unexpected-file", "it is no plain name")
          await writeFile(join(beside, name), bytes, { flag: "wx" })
        }
        return await installFiles(beside)
      } finally {
        await rm(beside, { recursive: true, force: true })
      }
    }

    return {
      root,
      pack: (digest) => attempt(digest, () => packFiles(digest)),
      unpack: (files) => attempt(root, () => unpackFiles(files)),
      read: readBundle,
      install: (dir) => attempt(dir, () => installFiles(dir)),
      get: (digest) => attempt(digest, () => getFiles(digest)),
      list: attempt(root, listFiles),
      aliases: attempt(root, async () =>
        Object.entries(await readAliases()).map(([key, digest]) => {
          const at = key.lastIndexOf("@")
          return { name: key.slice(0, at), alias: key.slice(at + 1), digest }
        })
      ),
      alias: (name, alias) => attempt(root, async () => (await readAliases())[`${name}@${alias}`]),
      setAlias: (name, alias, digest) =>
        turn
          .withPermits(1)(
            attempt(digest, async () => {
              const all = { ...(await readAliases()), [`${name}@${alias}`]: digest }
              const text = `${JSON.stringify(Schema.encodeSync(Aliases)(all), null, 1)}\n`
              await replaceFile(ALIASES, new TextEncoder().encode(text))
            })
          )
          .pipe(Effect.uninterruptible)
    }
  })
