// Names of cells, for those who ask them.
import { Context, Layer } from "effect"
import { cellId } from "../../schema/protocol/slots.ts"

export class Cells extends Context.Tag("groundstate/services/runtime/Cells")<
  Cells,
  { readonly idOf: (stream: string, partition: number) => string }
>() {
  static readonly layer = Layer.succeed(Cells, { idOf: cellId })
}
