// Deletes stored messages that were answered an hour ago: one runner does it for the region.
import { Singleton } from "@effect/cluster"
import { Clock, Effect } from "effect"
import { groupOfName } from "../../schema/protocol/slots.ts"
import { deleteAllAnswered } from "../../services/runtime/StoredMessages.ts"

const NAME = "message-reaper"
const EVERY = "1 minute"
/** So long a message that is sent again under its primary key gets the answer of the first. */
const KEPT_MILLIS = 3_600_000

/** Never fails: what goes wrong is logged, and the next minute comes. */
export const layer = Singleton.make(
  NAME,
  Clock.currentTimeMillis.pipe(
    Effect.flatMap((now) => deleteAllAnswered(now - KEPT_MILLIS)),
    Effect.catchAllCause((cause) => Effect.logWarning("stored messages were not deleted", cause)),
    Effect.zipRight(Effect.sleep(EVERY)),
    Effect.forever
  ),
  { shardGroup: groupOfName(NAME) }
)
