// Answers questions about incidents and alerts from their projections, and opens live feeds.
import { HttpApiBuilder } from "@effect/platform"
import { Effect } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import { Projections } from "../state/Projections.ts"
import { LiveFeed } from "./LiveFeed.ts"
import { listenerSocket, wantsFeed } from "./listener.ts"
import { problemOfError } from "./problems.ts"

/** Alerts shown with an incident. */
const INCIDENT_ALERTS_MAX = 100

const bridged = <A, E, R>(read: Effect.Effect<A, E, R>) =>
  Effect.mapError(read, (error) => problemOfError(error) as ApiProblem)

export const IncidentsHandlers = HttpApiBuilder.group(GroundstateApi, "incidents", (handlers) =>
  Effect.map(Projections, (projections) =>
    handlers
      .handle("list", ({ urlParams }) => bridged(projections.incidents(urlParams)))
      .handle("describe", ({ path }) =>
        Effect.gen(function* () {
          const incident = yield* bridged(projections.incident(path.id))
          if (incident === undefined) {
            return yield* ApiProblem.of(
              "not-found",
              `There is no incident ${path.id}; /v1/incidents lists those that are.`
            ).raise
          }
          const alerts = yield* bridged(projections.alerts({ incident: path.id, limit: INCIDENT_ALERTS_MAX }))
          return { incident, alerts: alerts.items }
        })
      )
  )
)

export const AlertsHandlers = HttpApiBuilder.group(GroundstateApi, "alerts", (handlers) =>
  Effect.gen(function* () {
    const projections = yield* Projections
    const feed = yield* LiveFeed
    return handlers
      .handleRaw("list", ({ request, urlParams, headers }) =>
        Effect.gen(function* () {
          if (!wantsFeed(headers.accept)) return yield* bridged(projections.alerts(urlParams))
          const { stream, device } = urlParams
          const socket = listenerSocket(request)
          return yield* feed.response({ stream, device, lastEventId: headers["last-event-id"] }, () =>
            socket.destroy()
          )
        })
      )
      .handle("describe", ({ path }) =>
        Effect.flatMap(bridged(projections.alert(path.id)), (alert) =>
          alert === undefined
            ? ApiProblem.of("not-found", `There is no alert ${path.id}; /v1/alerts lists those that are.`)
                .raise
            : Effect.succeed(alert)
        )
      )
  })
)
