// Usage and costs over time and by model.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { CostDay, UsageDay } from './api.js';
import { messageOf, useApp } from './context.js';
import { format, texts } from './texts.js';

const PERIODS = [7, 30, 90];
const DAY_MS = 86_400_000;

interface Data {
	usage: UsageDay[];
	costs: CostDay[];
}

/** What a number says of each of some rows. */
type Of<Row> = (row: Row) => number | null;

const sum = <Row,>(rows: readonly Row[], of: Of<Row>): number =>
	rows.reduce((total, row) => total + (of(row) ?? 0), 0);

function groupBy<Row>(rows: readonly Row[], of: (row: Row) => string): [string, Row[]][] {
	const groups = new Map<string, Row[]>();

	for (const row of rows)
		groups.set(of(row), [...(groups.get(of(row)) ?? []), row]);
	return [...groups];
}

export function Usage() {
	const { api, say, revision } = useApp();
	const [days, setDays] = useState(30);
	const [data, setData] = useState<Data | null>(null);

	useEffect(() => {
		const from = new Date(Date.now() - (days - 1) * DAY_MS).toISOString().slice(0, 10);
		let current = true;
		Promise.all([
			api.get<{ usage: UsageDay[] }>('/usage', { from }),
			api.get<{ costs: CostDay[] }>('/costs', { from }),
		]).then(
			([{ usage }, { costs }]) => current && setData({ usage, costs }),
			(error: unknown) => current && say(texts.failed(messageOf(error))),
		);
		return () => {
			current = false;
		};
	}, [api, days, revision]);

	return (
		<div class="page">
			<h1>{texts.usage}</h1>
			<p class="bar">
				<label for="days">{texts.days}</label>
				<select
					id="days"
					value={days}
					onChange={({ currentTarget }) => setDays(Number(currentTarget.value))}
				>
					{PERIODS.map((period) => (
						<option key={period} value={period}>
							{texts.period(period)}
						</option>
					))}
				</select>
			</p>
			{data === null ? (
				<p class="hint" role="status">
					{texts.loading}
				</p>
			) : data.usage.length === 0 ? (
				<p class="hint">{texts.noUsage}</p>
			) : (
				<Numbers data={data} days={days} />
			)}
		</div>
	);
}

function Numbers({ data: { usage, costs }, days }: { data: Data; days: number }) {
	const axis = useMemo(
		() =>
			Array.from({ length: days }, (_, n) =>
				new Date(Date.now() - (days - 1 - n) * DAY_MS).toISOString().slice(0, 10),
			),
		[days],
	);
	const perDay = <Row extends { day: string }>(rows: readonly Row[], of: Of<Row>): number[] => {
		const byDay = new Map(groupBy(rows, (row) => row.day));
		return axis.map((day) => sum(byDay.get(day) ?? [], of));
	};
	const totals: [string, string][] = [
		[texts.inputTokens, format.compact(sum(usage, (row) => row.input_tokens))],
		[texts.outputTokens, format.compact(sum(usage, (row) => row.output_tokens))],
		[texts.requests, format.number(sum(usage, (row) => row.requests))],
		[texts.cost, format.money(sum(costs, (row) => row.cost))],
	];

	return (
		<>
			<dl class="totals">
				{totals.map(([name, value]) => (
					<div key={name} class="card">
						<dt>{name}</dt>
						<dd>{value}</dd>
					</div>
				))}
			</dl>
			<Chart
				title={texts.tokensByDay}
				days={axis}
				series={[
					[texts.inputTokens, '--blue', perDay(usage, (row) => row.input_tokens)],
					[texts.outputTokens, '--orange', perDay(usage, (row) => row.output_tokens)],
				]}
			/>
			<Chart
				title={texts.costByDay}
				days={axis}
				series={[[texts.cost, '--green', perDay(costs, (row) => row.cost)]]}
			/>
			<Table
				caption={texts.byModel}
				head={[
					texts.model,
					texts.requests,
					texts.inputTokens,
					texts.cachedTokens,
					texts.outputTokens,
				]}
				rows={groupBy(usage, (row) => row.model ?? '').map(([model, rows]) => [
					model || texts.noModel,
					...[
						sum(rows, (row) => row.requests),
						sum(rows, (row) => row.input_tokens),
						sum(rows, (row) => row.cached_input_tokens),
						sum(rows, (row) => row.output_tokens),
					].map(format.number),
				])}
			/>
			<Table
				caption={texts.costParts}
				head={[
					texts.model,
					texts.inputCost,
					texts.cachedCost,
					texts.creationCost,
					texts.outputCost,
					texts.total,
				]}
				rows={groupBy(costs, (row) => row.model ?? '').map(([model, rows]) => [
					model || texts.noModel,
					...(
						[
							(row) => row.input_cost,
							(row) => row.cached_input_cost,
							(row) => row.cache_creation_cost,
							(row) => row.output_cost,
							(row) => row.cost,
						] satisfies Of<CostDay>[]
					).map((of) =>
						format.money(rows.every((row) => of(row) === null) ? null : sum(rows, of)),
					),
				])}
			/>
		</>
	);
}

export function Table({
	caption,
	head,
	rows,
}: {
	caption: string;
	head: string[];
	rows: string[][];
}) {
	return (
		<div class="scroll card" tabIndex={0} role="region" aria-label={caption}>
			<table>
				<caption>{caption}</caption>
				<thead>
					<tr>
						{head.map((name) => (
							<th key={name} scope="col">
								{name}
							</th>
						))}
					</tr>
				</thead>
				<tbody>
					{rows.map((row, n) => (
						<tr key={n}>
							{row.map((cell, m) =>
								m === 0 ? (
									<th key={m} scope="row">
										{cell}
									</th>
								) : (
									<td key={m} class="number">
										{cell}
									</td>
								),
							)}
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

type Series = [name: string, color: string, values: number[]];

function Chart({ title, days, series }: { title: string; days: string[]; series: Series[] }) {
	const box = useRef<HTMLDivElement>(null);

	useEffect(() => {
		const element = box.current;
		if (element === null)
			return undefined;
		const plot = { current: draw(element, days, series) };
		const observer = new ResizeObserver(() =>
			plot.current.setSize({ width: element.clientWidth, height: HEIGHT }),
		);
		const scheme = matchMedia('(prefers-color-scheme: dark)');
		const redraw = () => {
			plot.current.destroy();
			plot.current = draw(element, days, series);
		};
		observer.observe(element);
		scheme.addEventListener('change', redraw);
		return () => {
			observer.disconnect();
			scheme.removeEventListener('change', redraw);
			plot.current.destroy();
		};
	}, [days, JSON.stringify(series)]);
	// What is drawn is for those who see it; the tables say the same.
	return (
		<figure class="card">
			<figcaption>{title}</figcaption>
			<div
				ref={box}
				role="img"
				aria-label={`${title}: ${series.map(([name, , values]) => `${name} ${format.compact(sum(values, (value) => value))}`).join(', ')}`}
			/>
		</figure>
	);
}

const HEIGHT = 220;

function draw(element: HTMLElement, days: string[], series: Series[]): uPlot {
	const style = getComputedStyle(document.documentElement);
	const color = (name: string) => style.getPropertyValue(name).trim();
	const axis = {
		stroke: color('--soft'),
		grid: { stroke: color('--line'), width: 1 },
		ticks: { stroke: color('--line') },
	};

	return new uPlot(
		{
			width: element.clientWidth,
			height: HEIGHT,
			cursor: { points: { show: true } },
			scales: { y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.05 : 1] } },
			axes: [
				axis,
				{ ...axis, size: 60, values: (_plot, values) => values.map(format.compact) },
			],
			series: [
				{ value: '{YYYY}-{MM}-{DD}' },
				...series.map(([label, name]) => ({
					label,
					stroke: color(name),
					width: 2,
					fill: `color-mix(in srgb, ${color(name)} 15%, transparent)`,
					value: (_plot: uPlot, value: number | null) =>
						value === null ? '' : format.compact(value),
				})),
			],
		},
		[
			days.map((day) => Date.parse(`${day}T12:00:00`) / 1000),
			...series.map(([, , values]) => values),
		],
		element,
	);
}
