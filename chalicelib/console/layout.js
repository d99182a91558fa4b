// Where the nodes of a graph are drawn: in layers from left to right, each behind all that it comes after (Sugiyama's way).

const SWEEPS = 6; // over all layers, to have fewer lines cross: more changed nothing in graphs of 200 nodes
export const NODE = { width: 190, height: 42 };
const GAP = { across: 64, between: 12 };
const LANE_HEIGHT = 10; // of a line that passes a layer
const MARGIN = 8;

// ``nodes``: [{name, after: [names]}], each after those that it comes after; names that are not among them are left out.
// Returns {width, height, places: [{x, y}] in the order of ``nodes``, lines: [{from, to, points: [[x, y]]}]}.
export function layoutOf(nodes) {
  const numbers = new Map(nodes.map(({ name }, number) => [name, number]));
  const before = nodes.map(({ after }) => after.map((name) => numbers.get(name)).filter((number) => number !== undefined));
  const layerOf = layersOf(before);
  const items = nodes.map((_, number) => ({ layer: layerOf[number], height: NODE.height, left: [], right: [] }));
  const routes = before.flatMap((froms, to) => froms.map((from) => ({ from, to, stops: [] })));
  const lanes = new Map();
  for (const route of routes) lead(route, items, lanes);
  const layers = Array.from({ length: Math.max(0, ...layerOf) + 1 }, () => []);
  for (const item of items) layers[item.layer].push(item);
  untangle(layers);
  const height = place(layers) + 2 * MARGIN;
  return {
    width: layers.length * (NODE.width + GAP.across) - GAP.across + 2 * MARGIN,
    height,
    places: items.slice(0, nodes.length).map(({ layer, y }) => ({ x: leftOf(layer), y: y + MARGIN })),
    lines: routes.map(({ from, to, stops }) => ({ from, to, points: pointsOf(items[from], stops, items[to]) })),
  };
}

function layersOf(before) {
  const found = [];
  for (const froms of before) found.push(Math.max(-1, ...froms.map((from) => found[from])) + 1);
  return found;
}

// A line to a layer further on passes those between in a lane, which all lines from the same node share.
function lead(route, items, lanes) {
  let last = items[route.from];
  for (let layer = last.layer + 1; layer < items[route.to].layer; layer += 1) {
    const key = `${route.from} ${layer}`;
    if (!lanes.has(key)) lanes.set(key, items[items.push({ layer, height: LANE_HEIGHT, left: [], right: [] }) - 1]);
    join(last, lanes.get(key));
    last = lanes.get(key);
    route.stops.push(last);
  }
  join(last, items[route.to]);
}

function join(left, right) {
  if (left.right.includes(right)) return;
  left.right.push(right);
  right.left.push(left);
}

// Each layer in the order of the middle of what its nodes are joined with, from left to right and back.
function untangle(layers) {
  for (const layer of layers) number(layer);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const [way, side] = sweep % 2 ? [[...layers].reverse(), "right"] : [layers, "left"];
    for (const layer of way) {
      for (const item of layer) item.wanted = item[side].length ? middleOf(item[side]) : item.at;
      layer.sort((a, b) => a.wanted - b.wanted || a.at - b.at);
      number(layer);
    }
  }
}

function number(layer) {
  layer.forEach((item, at) => (item.at = layer.length > 1 ? at / (layer.length - 1) : 0.5));
}

function middleOf(items) {
  return items.reduce((sum, { at }) => sum + at, 0) / items.length;
}

function place(layers) {
  const heights = layers.map((layer) => layer.reduce((sum, { height }) => sum + height + GAP.between, -GAP.between));
  const height = Math.max(NODE.height, ...heights);
  layers.forEach((layer, index) => {
    let y = (height - heights[index]) / 2;
    for (const item of layer) {
      item.y = y;
      y += item.height + GAP.between;
    }
  });
  return height;
}

function leftOf(layer) {
  return MARGIN + layer * (NODE.width + GAP.across);
}

function pointsOf(from, stops, to) {
  const middle = ({ y, height }) => y + height / 2 + MARGIN;
  const passed = stops.flatMap((stop) => [[leftOf(stop.layer), middle(stop)], [leftOf(stop.layer) + NODE.width, middle(stop)]]);
  return [[leftOf(from.layer) + NODE.width, middle(from)], ...passed, [leftOf(to.layer), middle(to)]];
}
