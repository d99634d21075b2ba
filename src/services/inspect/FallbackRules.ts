// The port to the rules' verdict on one event alone: what answers when a cell's verdict does not come in time.
import { Context } from "effect"
import type { Severity } from "../../schema/stream/StreamDefinition.ts"

export interface RulesVerdict {
  readonly decision: "normal" | "allow" | "alert" | "escalate"
  /** Name of the rule that decided, and its severity; null where none did. */
  readonly rule: string | null
  readonly severity: Severity | null
}

export class FallbackRules extends Context.Tag("groundstate/services/inspect/FallbackRules")<
  FallbackRules,
  {
    /**
     * The verdict of the stream's rules that look at the event alone. `event` holds the record's value as
     * appended, `headers` its headers where it has any. Does not throw; an event that it can't judge is normal.
     */
    readonly judge: (
      stream: string,
      event: Uint8Array,
      headers: Readonly<Record<string, string>> | undefined
    ) => RulesVerdict
  }
>() {}
