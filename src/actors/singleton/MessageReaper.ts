// Deletes stored messages that were answered an hour ago: one runner does it for the region.
import { Singleton } from "@effect/cluster"
import { Clock, Effect } from "effect"
import { groupOfName } from "../../schema/protocol/slots.ts"
import { deleteAllAnswered } from "../../services/runtime/StoredMessages.ts"
import { rounds } from "./rounds.ts"

const NAME = "message-reaper"
const EVERY = "1 minute"
/** So long a message that is sent again under its primary key gets the answer of the first. */
const KEPT_MILLIS = 3_600_000

export const layer = Singleton.make(
  NAME,
  rounds({
    name: "a deletion of stored messages",
    every: EVERY,
    round: Effect.asVoid(
      Effect.flatMap(Clock.currentTimeMillis, (now) => deleteAllAnswered(now - KEPT_MILLIS))
    )
  }),
  { shardGroup: groupOfName(NAME) }
)
