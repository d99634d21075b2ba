// Who asks for a live feed, and its connection.
import type { Socket } from "node:net"
import type { HttpServerRequest } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { HEARTBEAT_MILLIS } from "./LiveFeed.ts"

/** Does the caller ask for a feed? Media ranges count as JSON, which is what most clients mean. */
export const wantsFeed = (accept: string | undefined): boolean =>
  (accept ?? "")
    .split(",")
    .some((range) => range.split(";", 1)[0].trim().toLowerCase() === "text/event-stream")

/** A listener that takes nothing for four heartbeats is gone, whatever its network says. */
export const listenerSocket = (request: HttpServerRequest.HttpServerRequest): Socket => {
  const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
  socket.setTimeout(4 * HEARTBEAT_MILLIS, () => socket.destroy())
  return socket
}
