// The streams that this runner serves: definitions, plans and partition counts.
import { Context } from "effect"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"

export interface ServedStream {
  readonly definition: StreamDefinition
  readonly plan: StreamPlan
  readonly topic: string
  readonly partitions: number
}

export class Streams extends Context.Tag("groundstate/services/runtime/Streams")<
  Streams,
  {
    readonly all: ReadonlyArray<ServedStream>
    readonly get: (stream: string) => ServedStream | undefined
  }
>() {}
