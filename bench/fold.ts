// What does an event cost between decoding and the alert? Fold, decide and interner, microseconds an event.
import { makeEventColumns } from "../src/schema/event/Batch.ts"
import { planStream } from "../src/schema/stream/StreamPlan.ts"
import { defaultFeatures } from "../src/services/feature/rowLayout.ts"
import { makeFold } from "../src/services/feature/features.ts"
import { makeFolded } from "../src/services/feature/traces.ts"
import { makeBaselineEnergy } from "../src/services/score/energy.ts"
import { makeCellState } from "../src/services/state/cellState.ts"
import { bytesPerDevice, columnsBytes, ensureDevice, makeDeviceColumns } from "../src/services/state/columns.ts"
import { makeInterner } from "../src/services/state/interner.ts"
import { StreamDefinition } from "../src/schema/stream/StreamDefinition.ts"
import { Schema } from "effect"

const plan7 = planStream(Schema.decodeUnknownSync(StreamDefinition)({
  stream: "flows", source: { topic: "flows" }, identity: { device: "device", time: "ts" },
  fields: Object.fromEntries(["bytesIn","bytesOut","packetsIn","packetsOut","duration","failed","temp"].map((n,i)=>[n,{type:"number",...(i<5?{scale:"log"}:{})}]))
}))
const lines:Array<string>=[]
const bench=(name:string, plan:typeof plan7, features:ReturnType<typeof defaultFeatures>, devices:number)=>{
const B=1024
const energy=makeBaselineEnergy(plan)
const fold=makeFold({plan,features,resolve:()=>-1,population:undefined,energy})
const cols=makeDeviceColumns(plan); ensureDevice(cols,devices-1)
const cell=makeCellState(plan)
const folded=makeFolded(plan,fold.width,energy,B)
const ev=makeEventColumns(B,plan.numbers.length,plan.categories.length)
let s=1; const rnd=()=>{ s=Math.imul(s,1664525)+1013904223|0; return (s>>>8)/16777216 }
let t=1.76e12, n=0
const best:Array<number>=[]
for(let r=0;r<600;r++){
 ev.count=B
 for(let i=0;i<B;i++){ ev.device[i]=(n*7919)%devices; ev.time[i]=t; ev.flags[i]=0; t+=3; n++
  for(let k=0;k<plan.numbers.length;k++) ev.numbers[i*plan.numbers.length+k]=Math.exp(5+rnd()+rnd()+rnd())
  for(let k=0;k<plan.categories.length;k++) ev.categories[i*plan.categories.length+k]=1+Math.floor(rnd()*rnd()*20) }
 const a=performance.now(); fold.fold(cols,cell,ev,0,B,folded); best.push((performance.now()-a)*1e3/B)
}
const tail=best.slice(300).sort((a,b)=>a-b)
lines.push(`${name}: median ${tail[150].toFixed(3)} p10 ${tail[30].toFixed(3)} us/event, width ${fold.width}`)
}
const basic=(p:typeof plan7)=>defaultFeatures(p).slice(0,16)
for (const d of [1000,100000]) { bench(`7 numerics, 16 features, ${d} devices`,plan7,basic(plan7),d) }
console.log(lines.join("\n"))
void [bytesPerDevice,columnsBytes,makeInterner]
