// A region's model store: what one runner has been given, the others take from the region's database by digest.
import { SqlClient } from "@effect/sql"
import { Effect, Layer } from "effect"
import { ModelRefused } from "../../schema/error/ModelError.ts"
import type { ModelBundle } from "../../schema/model/Manifest.ts"
import type { Settings } from "../runtime/Settings.ts"
import { turn } from "../runtime/turn.ts"
import { ModelStore } from "./ModelStore.ts"

/** Bytes of one row: a statement stays short on both ends. */
const PIECE_BYTES = 1024 * 1024
/** A larger bundle is not put into the database; it is to be registered at each runner. */
export const SHARED_BYTES_MAX = 64 * 1024 * 1024
/** How often a runner looks for what it was given, and for what others were. */
const EVERY = "2 seconds"

interface PieceRow {
  readonly name: string
  readonly bytes: Uint8Array
}

const sizeOf = (files: ReadonlyMap<string, Uint8Array>): number =>
  [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const own = yield* ModelStore
  /** Digests that are known to be in the database, or not to go there. */
  const settled = new Set<string>()
  const oneAtATime = yield* Effect.makeSemaphore(1)

  const away = (digest: string) => (cause: { readonly message: string }) =>
    new ModelRefused({ model: digest, reason: "store", detail: `the region's database: ${cause.message}` })

  const stored = (digest: string) =>
    Effect.map(sql`SELECT 1 FROM model_bundle WHERE digest = ${digest}`, (rows) => rows.length > 0)

  const put = (digest: string, files: ReadonlyMap<string, Uint8Array>) =>
    sql.withTransaction(
      Effect.gen(function* () {
        const fresh = yield* sql`INSERT INTO model_bundle ${sql.insert({ digest, bytes: sizeOf(files) })}
          ON CONFLICT (digest) DO NOTHING RETURNING digest`
        if (fresh.length === 0) return
        for (const [name, bytes] of files) {
          for (let at = 0, piece = 0; piece === 0 || at < bytes.length; at += PIECE_BYTES, piece++) {
            yield* sql`INSERT INTO model_piece ${sql.insert({
              digest,
              name,
              piece,
              bytes: bytes.subarray(at, at + PIECE_BYTES)
            })}`
            yield* turn
          }
        }
      })
    )

  /** Puts a bundle that lies here where the others find it, once. */
  const share = (digest: string) =>
    Effect.gen(function* () {
      if (settled.has(digest)) return
      if (!(yield* stored(digest))) {
        const files = yield* own.pack(digest)
        if (files === undefined) return
        if (sizeOf(files) > SHARED_BYTES_MAX) {
          yield* Effect.logWarning(
            `model ${digest} has more than ${SHARED_BYTES_MAX} bytes and is not shared; register it at each runner`
          )
        } else yield* put(digest, files)
      }
      settled.add(digest)
    })

  /** Takes a bundle from the database; it is checked as any other is before it lies here. */
  const take = (digest: string) =>
    Effect.gen(function* () {
      const parts = new Map<string, Array<Uint8Array>>()
      const places = yield* sql<{ name: string; piece: number }>`SELECT name, piece FROM model_piece
        WHERE digest = ${digest} ORDER BY name, piece`
      if (places.length === 0) return false
      for (const { name, piece } of places) {
        const rows = yield* sql<PieceRow>`SELECT name, bytes FROM model_piece
          WHERE digest = ${digest} AND name = ${name} AND piece = ${Number(piece)}`
        for (const row of rows) parts.set(name, [...(parts.get(name) ?? []), row.bytes])
      }
      const files = new Map([...parts].map(([name, pieces]) => [name, new Uint8Array(Buffer.concat(pieces))]))
      const { digest: found } = yield* own.unpack(files)
      if (found !== digest) {
        return yield* new ModelRefused({
          model: digest,
          reason: "digest-mismatch",
          detail: `what the region's database has under this name is ${found}`
        })
      }
      settled.add(digest)
      yield* Effect.logInfo("a model was taken from the region").pipe(Effect.annotateLogs({ digest }))
      return true
    })

  const inTurn = <A>(
    digest: string,
    work: Effect.Effect<A, ModelRefused | { readonly _tag: "SqlError"; readonly message: string }>
  ) =>
    oneAtATime.withPermits(1)(
      Effect.mapError(work, (error) => (error instanceof ModelRefused ? error : away(digest)(error)))
    )

  const get = (digest: string): Effect.Effect<ModelBundle | undefined, ModelRefused> =>
    Effect.gen(function* () {
      const here = yield* own.get(digest)
      if (here !== undefined) {
        if (!settled.has(digest)) {
          yield* Effect.catchAll(inTurn(digest, share(digest)), (error) =>
            Effect.logWarning("a model is not shared yet", error.message)
          )
        }
        return here
      }
      return (yield* inTurn(digest, take(digest))) ? yield* own.get(digest) : undefined
    })

  /** Both ways, so that every runner lists the same. */
  const exchange = Effect.gen(function* () {
    const here = new Set((yield* own.list).map(({ digest }) => digest))
    for (const digest of here) if (!settled.has(digest)) yield* inTurn(digest, share(digest))
    const rows = yield* sql<{ digest: string }>`SELECT digest FROM model_bundle`
    for (const { digest } of rows) if (!here.has(digest)) yield* inTurn(digest, take(digest))
  })
  let told = false
  yield* exchange.pipe(
    Effect.tap(() =>
      Effect.sync(() => {
        told = false
      })
    ),
    Effect.catchAll((error) =>
      Effect.suspend(() => {
        const first = !told
        told = true
        return first
          ? Effect.logWarning("models are not exchanged in the region", error.message)
          : Effect.void
      })
    ),
    Effect.zipRight(Effect.sleep(EVERY)),
    Effect.forever,
    Effect.forkScoped
  )

  return ModelStore.of({ ...own, get })
})

/** The runner's own folder, and behind it the region's database. */
export const layer: Layer.Layer<ModelStore, ModelRefused, Settings | SqlClient.SqlClient> = Layer.scoped(
  ModelStore,
  make
).pipe(Layer.provide(ModelStore.layer))
