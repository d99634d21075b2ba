// How the report looks: one style sheet for light and dark, in colours that colour-blind people tell apart (Okabe and Ito 2008).

export const styles = `
:root{color-scheme:light dark;--page:#f6f7f9;--panel:#fff;--ink:#1b2330;--muted:#5a6575;--rule:#dfe3e9;--normal:#0072b2;--anomaly:#c84f00;--band:#8a94a3;--good:#007a5a}
@media (prefers-color-scheme:dark){:root{--page:#12161c;--panel:#1b212a;--ink:#e8ecf2;--muted:#a3aebd;--rule:#343d4a;--normal:#56b4e9;--anomaly:#f0883e;--band:#8a94a3;--good:#3ecf9f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 24px 56px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:17px;margin:0 0 2px}
h3{font-size:15px;margin:0}
p{margin:0}
.sub,.about{color:var(--muted)}
.sub{margin:4px 0 20px;overflow-wrap:anywhere}
.about{font-size:14px;margin-bottom:8px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(164px,1fr));gap:12px;margin:0 0 16px;padding:0}
.cards>div,.panel{background:var(--panel);border:1px solid var(--rule);border-radius:10px}
.cards>div{padding:12px 16px;display:flex;flex-direction:column}
.cards dt{font-size:13px;color:var(--muted);order:0}
.cards dd{margin:0}
.cards .value{font-size:25px;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.cards .more{font-size:13px;color:var(--muted)}
.panel{padding:18px 20px;margin:0 0 16px;min-width:0}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:16px;align-items:stretch}
@media (max-width:860px){.pair{grid-template-columns:1fr}}
.stack{display:flex;flex-direction:column;min-width:0}
.stack>:last-child{flex:1}
figure{margin:0}
svg{display:block;width:100%;height:auto}
.scroll{overflow-x:auto}
.scroll>svg{min-width:720px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:0 0 8px;padding:0;font-size:13.5px}
.legend svg{display:inline-block;width:22px;height:12px;margin-right:6px;vertical-align:-1px}
.grid{stroke:var(--rule);stroke-width:1}
.axis{stroke:var(--muted);stroke-width:1}
.tick{fill:var(--muted);font-size:12px;font-variant-numeric:tabular-nums}
.title{fill:var(--muted);font-size:13px}
.note{fill:var(--ink);font-size:12.5px;font-weight:600;paint-order:stroke;stroke:var(--panel);stroke-width:4px}
.normal{fill:var(--normal);fill-opacity:.6}
.anomalous{fill:var(--anomaly);fill-opacity:.16;stroke:var(--anomaly);stroke-width:2}
.threshold{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}
.curve,.series{fill:none;stroke:var(--normal);stroke-width:2.5;stroke-linejoin:round}
.series{stroke-width:1.4}
.area{fill:var(--normal);fill-opacity:.12}
.chance{stroke:var(--muted);stroke-width:1.2;stroke-dasharray:2 4}
.operating{fill:var(--panel);stroke:var(--anomaly);stroke-width:3}
.band{fill:var(--band);fill-opacity:.28}
.dot{fill:var(--normal)}
.outside{fill:var(--panel);stroke:var(--anomaly);stroke-width:2}
.strip{fill:var(--anomaly);fill-opacity:.13}
.anomaly{fill:var(--anomaly)}
.caught{fill:var(--good)}
.false{fill:var(--ink)}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--rule);vertical-align:middle;overflow-wrap:anywhere}
th{font-weight:600;color:var(--muted)}
tbody th{font-weight:500;color:var(--ink)}
.number{text-align:right;white-space:nowrap}
caption{text-align:left;color:var(--muted);padding-bottom:4px}
details{margin-top:10px;font-size:13.5px}
summary{cursor:pointer;color:var(--muted)}
details>div{max-height:320px;overflow:auto;margin-top:6px}
.rows{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(500px,100%),1fr));gap:16px;margin-top:12px}
.row{border:1px solid var(--rule);border-radius:8px;padding:12px 14px;min-width:0}
.row .about{margin:0 0 6px}
.row table{table-layout:fixed}
.row tr>:nth-child(1){width:34%}
.row tr>:nth-child(2),.row tr>:nth-child(3){width:16%}
.row td.number{white-space:normal}
.bar{height:12px;width:100%}
.bar .plus{fill:var(--anomaly)}
.bar .minus{fill:var(--normal)}
.bar .track{fill:var(--rule);fill-opacity:.6}
.share{display:grid;grid-template-columns:1fr 62px;gap:8px;align-items:center}
.facts th{width:90px;vertical-align:top;color:var(--muted)}
.kinds .plus{fill:var(--good)}
.kinds td:last-child,.kinds th:last-child{width:45%}
code{font:13px/1.4 ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
@media print{body{background:#fff}.panel,.row{break-inside:avoid}}
`
