import { createHash } from "node:crypto"
import {
  appendFileSync,
  cpSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { ModelStore, readBundle } from "../../../src/services/model/ModelStore.ts"
import { temporaryFolder, writeSmallModel } from "../../support/smallModel.ts"

/** A folder with a bundle, and what is said of it after a change. */
const refusal = (change: (model: string, dir: string) => void) =>
  Effect.gen(function* () {
    const dir = yield* temporaryFolder
    cpSync(yield* shared, join(dir, "model"), { recursive: true })
    change(join(dir, "model"), dir)
    return (yield* Effect.flip(readBundle(join(dir, "model")))).reason
  })

const shared = Effect.flatMap(temporaryFolder, (dir) => writeSmallModel(dir))

const manifestWith = (model: string, change: (manifest: Editable) => void) => {
  const manifest = JSON.parse(readFileSync(join(model, "manifest.json"), "utf8"))
  change(manifest)
  writeFileSync(join(model, "manifest.json"), JSON.stringify(manifest))
}

describe("reading a bundle", () => {
  it.scoped("answers the bytes that were hashed, and the manifest's digest", () =>
    Effect.gen(function* () {
      const model = yield* shared
      const bundle = yield* readBundle(model)
      const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
      expect(bundle.digest).toBe(`sha256:${sha256(readFileSync(join(model, "manifest.json")))}`)
      for (const { name, sha256: expected } of bundle.manifest.files) {
        expect(sha256(bundle.files.get(name) as Uint8Array)).toBe(expected)
      }
    })
  )

  it.scoped("refuses files that are missing, changed, too many, links or folders", () =>
    Effect.gen(function* () {
      expect(yield* refusal((model) => rmSync(join(model, "fast.onnx")))).toBe("missing-file")
      expect(yield* refusal((model) => rmSync(model, { recursive: true }))).toBe("missing-file")
      expect(yield* refusal((model) => appendFileSync(join(model, "fast.onnx"), "x"))).toBe("digest-mismatch")
      expect(yield* refusal((model) => truncateSync(join(model, "fast.onnx"), 100))).toBe("digest-mismatch")
      expect(yield* refusal((model) => writeFileSync(join(model, "extra.txt"), ""))).toBe("unexpected-file")
      const link = (model: string, dir: string) => {
        cpSync(join(model, "fast.onnx"), join(dir, "elsewhere"))
        rmSync(join(model, "fast.onnx"))
        symlinkSync(join(dir, "elsewhere"), join(model, "fast.onnx"))
      }
      expect(yield* refusal(link)).toBe("unexpected-file")
    })
  )

  it.scoped("refuses a manifest that is no manifest, or whose parts do not fit", () =>
    Effect.gen(function* () {
      expect(yield* refusal((model) => writeFileSync(join(model, "manifest.json"), "{"))).toBe("bad-manifest")
      const changes: ReadonlyArray<readonly [(manifest: Editable) => void, string]> = [
        [(manifest) => (manifest.format = "groundstate-model/9"), "bad-manifest"],
        [(manifest) => (manifest.files[0].name = "../fast.onnx"), "bad-manifest"],
        [(manifest) => (manifest.graphs[0].score = "other.onnx"), "bad-manifest"],
        [(manifest) => manifest.graphs[0].calibration.energies.reverse(), "bad-manifest"],
        [(manifest) => manifest.golden.rows.pop(), "bad-manifest"],
        [(manifest) => (manifest.files[0].sha256 = "0".repeat(64)), "digest-mismatch"]
      ]
      for (const [change, reason] of changes) {
        expect(yield* refusal((model) => manifestWith(model, change))).toBe(reason)
      }
    })
  )

  it.scoped("refuses a graph that does not fit the manifest's features", () =>
    Effect.gen(function* () {
      const shorten = (model: string) =>
        manifestWith(model, (manifest) => {
          manifest.features.pop()
          for (const row of manifest.golden.rows) row.pop()
        })
      expect(yield* refusal(shorten)).toBe("wrong-shape")
    })
  )
})

interface Editable {
  format: string
  files: Array<{ name: string; sha256: string }>
  graphs: Array<{ score: string; calibration: { energies: Array<number> } }>
  features: Array<unknown>
  golden: { rows: Array<Array<number>> }
}

describe("a store", () => {
  it.scoped("keeps bundles by digest, lists them, and gives out what it has checked anew", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const root = join(dir, "store")
      const store = yield* Effect.provide(ModelStore, ModelStore.layerAt(root))
      expect(yield* store.list).toEqual([])
      const model = yield* writeSmallModel(dir)
      const { digest } = yield* store.install(model)
      expect((yield* store.install(model)).digest).toBe(digest)
      expect((yield* store.list).map((stored) => stored.digest)).toEqual([digest])
      expect(readdirSync(root)).toEqual([digest.slice(7)])
      expect((yield* store.get(digest))?.manifest.input).toEqual({ kind: "stream", stream: "flows" })
      expect(yield* store.get(`sha256:${"0".repeat(64)}`)).toBeUndefined()
      expect(yield* store.get("../../etc")).toBeUndefined()
      appendFileSync(join(root, digest.slice(7), "fast.onnx"), "x")
      expect(yield* Effect.flip(store.get(digest))).toMatchObject({ reason: "digest-mismatch" })
      appendFileSync(join(root, digest.slice(7), "manifest.json"), " ")
      expect(yield* Effect.flip(store.get(digest))).toMatchObject({ _tag: "ModelRefused" })
      expect(yield* store.list).toEqual([])
    })
  )

  it.scoped("installs nothing that it refuses", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const store = yield* Effect.provide(ModelStore, ModelStore.layerAt(join(dir, "store")))
      const model = yield* writeSmallModel(dir)
      writeFileSync(join(model, "fast.onnx"), "no")
      yield* Effect.flip(store.install(model))
      expect(readdirSync(join(dir, "store"))).toEqual([])
    })
  )

  it.scoped("keeps names for digests across a restart, also when many are set at once", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const open = Effect.provide(ModelStore, ModelStore.layerAt(dir))
      const store = yield* open
      const digest = (digit: number) => `sha256:${String(digit).repeat(64)}`
      expect(yield* store.alias("flows", "champion")).toBeUndefined()
      yield* Effect.forEach([1, 2, 3, 4, 5], (n) => store.setAlias("flows", `a${n}`, digest(n)), {
        concurrency: 5
      })
      yield* store.setAlias("flows", "a1", digest(9))
      const again = yield* open
      expect(yield* again.alias("flows", "a1")).toBe(digest(9))
      expect((yield* again.aliases).map(({ alias }) => alias).sort()).toEqual(["a1", "a2", "a3", "a4", "a5"])
      expect(readdirSync(dir)).toEqual(["aliases.json"])
    })
  )
})
