// Loaded model versions of this process, each opened once and shared by its cells; and the one a cell uses.
import { Context, Effect, Exit, Layer, RcMap, Scope } from "effect"
import { ModelRefused } from "../../schema/error/ModelError.ts"
import { ModelStore } from "../../services/model/ModelStore.ts"
import { type LoadedModel, Scorer } from "../../services/score/Scorer.ts"
import type { CellCore } from "./cellCore.ts"

/** How long an opened model is kept after its last cell has left it: longer than a swap takes. */
const KEEP = "30 seconds"

export class Models extends Context.Tag("groundstate/actors/cell/Models")<
  Models,
  {
    /** The model stays open while any scope that asked for it is. */
    readonly open: (digest: string) => Effect.Effect<LoadedModel, ModelRefused, Scope.Scope>
  }
>() {
  static readonly layer = Layer.scoped(
    Models,
    Effect.gen(function* () {
      const store = yield* ModelStore
      const scorer = yield* Scorer
      const opened = yield* RcMap.make({
        lookup: (digest: string) =>
          Effect.flatMap(store.get(digest), (bundle) =>
            bundle === undefined
              ? new ModelRefused({
                  model: digest,
                  reason: "missing-file",
                  detail: "the store has no such bundle"
                })
              : scorer.load(bundle)
          ),
        idleTimeToLive: KEEP
      })
      return {
        open: (digest) =>
          // A version that could not be opened is tried anew by whoever asks next.
          RcMap.get(opened, digest).pipe(Effect.tapError(() => RcMap.invalidate(opened, digest)))
      }
    })
  )
}

/** The model that one cell scores with. */
export interface CellModel {
  readonly current: () => LoadedModel | undefined
  /** Can this version be opened, and does it fit the stream? */
  readonly check: (digest: string) => Effect.Effect<void, ModelRefused>
  /** Takes it; where it can't, the cell keeps what it has. */
  readonly use: (digest: string) => Effect.Effect<void, ModelRefused>
  /** Lets go of it: the rungs below score. */
  readonly leave: Effect.Effect<void>
}

export const makeCellModel = (core: CellCore): Effect.Effect<CellModel, never, Models | Scope.Scope> =>
  Effect.gen(function* () {
    const models = yield* Models
    const outer = yield* Effect.scope
    let held: { readonly model: LoadedModel; readonly scope: Scope.CloseableScope } | undefined

    const fits = (model: LoadedModel): Effect.Effect<void, ModelRefused> => {
      const { input } = model.manifest
      if (input.kind === "stream" && input.stream !== core.plan.stream) {
        return new ModelRefused({
          model: model.digest,
          reason: "wrong-stream",
          detail: `it was trained for stream ${input.stream}, this cell serves ${core.plan.stream}`
        })
      }
      const problem = core.modelProblem(model.manifest)
      return problem === undefined
        ? Effect.void
        : new ModelRefused({ model: model.digest, reason: "wrong-stream", detail: problem })
    }

    const release = Effect.suspend(() => {
      const before = held
      held = undefined
      return before === undefined ? Effect.void : Scope.close(before.scope, Exit.void)
    })

    const take = (digest: string) =>
      Effect.gen(function* () {
        const scope = yield* Scope.fork(outer, { _tag: "Sequential" })
        const model = yield* models.open(digest).pipe(
          Effect.tap(fits),
          Scope.extend(scope),
          Effect.onError(() => Scope.close(scope, Exit.void))
        )
        yield* release
        held = { model, scope }
        core.useModel(model.manifest)
      })

    return {
      current: () => held?.model,
      check: (digest) => Effect.scoped(Effect.flatMap(models.open(digest), fits)),
      use: take,
      leave: Effect.zipRight(
        release,
        Effect.sync(() => core.useModel(undefined))
      )
    }
  })
