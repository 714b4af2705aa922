// Where things stand in a drawing of networks: numbers from numbers, in one pass over objects and their lines.
//
//   .------------- public ----------------.     bands of external networks
//   '--------+----------------------------'
//        [ r1 ]      [ r2 ]                     routers
//     .--+------------------------------.
//     |  red  10.1.0.0/24               |       a band for each network, its servers in it
//     |  [vm1] [vm2] [vm3] [vm4]        |
//     '---------------------------------'
//
// A server stands in the band of its first network; to the others, lines lead along the left edge, as routers' do.

export const SIZE = { width: 1000, margin: 16, lane: 8, lanes: 12, cell: 176, cellHeight: 62, gap: 10, head: 30, box: 44 };

const left = SIZE.margin + SIZE.lane * SIZE.lanes;
const inner = SIZE.width - left - SIZE.margin;
const perRow = Math.floor((inner - SIZE.gap) / (SIZE.cell + SIZE.gap));

// networks: [{id, isExternal}], routers: [{id, networks: [id]}], servers: [{id, networks: [id]}]
// gives {height, bands, boxes: [{id, x, y, width, height}], lines: [{from, to, points: [[x, y], …]}]}
export function layout({ networks, routers, servers }) {
  const bands = new Map();
  const boxes = [];
  const lines = [];
  const inside = new Map(networks.map((each) => [each.id, []]));
  const loose = [];
  for (const server of servers) (inside.get(server.networks.find((id) => inside.has(id))) ?? loose).push(server);
  let y = SIZE.margin;
  const place = (id, members) => {
    const rows = Math.ceil(members.length / perRow);
    const height = SIZE.head + (rows ? rows * (SIZE.cellHeight + SIZE.gap) + SIZE.gap : SIZE.gap);
    bands.set(id, { id, x: left, y, width: inner, height });
    members.forEach((each, index) => boxes.push({
      id: each.id, kind: "server", x: left + SIZE.gap + (index % perRow) * (SIZE.cell + SIZE.gap),
      y: y + SIZE.head + Math.floor(index / perRow) * (SIZE.cellHeight + SIZE.gap), width: SIZE.cell, height: SIZE.cellHeight }));
    y += height + SIZE.margin;
  };
  for (const each of networks) if (each.isExternal) place(each.id, inside.get(each.id));
  routers.forEach((each, index) => boxes.push({
    id: each.id, kind: "router", x: left + SIZE.gap + (index % perRow) * (SIZE.cell + SIZE.gap),
    y: y + Math.floor(index / perRow) * (SIZE.box + SIZE.gap), width: SIZE.cell, height: SIZE.box }));
  if (routers.length) y += Math.ceil(routers.length / perRow) * (SIZE.box + SIZE.gap) + SIZE.margin;
  for (const each of networks) if (!each.isExternal) place(each.id, inside.get(each.id));
  if (loose.length) place("", loose);
  const at = new Map(boxes.map((each) => [each.id, each]));
  let lane = 0;
  const lead = (id, network) => {
    const [box, band] = [at.get(id), bands.get(network)];
    if (!box || !band) return;
    const x = SIZE.margin + (lane % SIZE.lanes) * SIZE.lane;
    const out = box.y + box.height / 2;
    lines.push({ from: id, to: network, points: [[box.x, out], [x, out], [x, band.y + SIZE.head / 2], [band.x, band.y + SIZE.head / 2]] });
  };
  for (const each of [...routers, ...servers]) {
    const home = each.networks.find((id) => bands.has(id));
    for (const network of each.networks) if (at.get(each.id)?.kind === "router" || network !== home) lead(each.id, network);
    if (lines.length && lines.at(-1).from === each.id) lane += 1;
  }
  return { width: SIZE.width, height: y, bands: [...bands.values()], boxes, lines };
}

// Boxes in boxes: hosts one below the other, in each its groups, in each group items side by side.
// hosts: [{id, groups: [{id, items: [{id}]}]}]; gives {width, height, hosts, groups, items}, each {id, x, y, width, height}
export function stacked(hosts) {
  const found = { width: SIZE.width, hosts: [], groups: [], items: [] };
  const [x, width] = [SIZE.margin, SIZE.width - 2 * SIZE.margin];
  const many = Math.floor((width - 3 * SIZE.gap) / (SIZE.cell + SIZE.gap));
  let y = SIZE.margin;
  for (const host of hosts) {
    const top = y;
    y += SIZE.head;
    for (const group of host.groups) {
      const rows = Math.ceil(group.items.length / many);
      const height = SIZE.head + rows * (SIZE.box + SIZE.gap);
      found.groups.push({ id: group.id, x: x + SIZE.gap, y, width: width - 2 * SIZE.gap, height });
      group.items.forEach((item, index) => found.items.push({
        id: item.id, x: x + 2 * SIZE.gap + (index % many) * (SIZE.cell + SIZE.gap),
        y: y + SIZE.head + Math.floor(index / many) * (SIZE.box + SIZE.gap), width: SIZE.cell, height: SIZE.box }));
      y += height + SIZE.gap;
    }
    found.hosts.push({ id: host.id, x, y: top, width, height: y - top });
    y += SIZE.margin;
  }
  return { ...found, height: y };
}
