// How much of each limit is used, and what is owed.
import { useEffect, useState } from 'preact/hooks';
import { Refused, type InvoiceLine, type Quota } from './api.js';
import { messageOf, useApp } from './context.js';
import { format, texts } from './texts.js';
import { Table } from './usage.js';

/** From where on a gauge warns, in percent. */
const NEAR = 80;
const FULL = 100;

export function Quotas() {
	const { api, say, revision } = useApp();
	const [quotas, setQuotas] = useState<Quota[] | null>(null);

	useEffect(() => {
		api.get<{ quota: Quota[] }>('/quota').then(
			({ quota }) => setQuotas(quota),
			(error: unknown) => say(texts.failed(messageOf(error))),
		);
	}, [api, revision]);
	return (
		<div class="page">
			<h1>{texts.quotas}</h1>
			{quotas === null ? (
				<p class="hint" role="status">
					{texts.loading}
				</p>
			) : quotas.length === 0 ? (
				<p class="hint">{texts.noQuotas}</p>
			) : (
				<ul class="gauges">
					{quotas.map((quota) => (
						<Gauge key={`${quota.meter} ${quota.period}`} quota={quota} />
					))}
				</ul>
			)}
			<Invoice />
		</div>
	);
}

function Gauge({ quota }: { quota: Quota }) {
	const { meter, period, used, limit_value: limit, enforcement, period_end: end } = quota;
	const percent = quota.percent ?? 0;
	const level = percent >= FULL ? 'full' : percent >= NEAR ? 'near' : 'free';
	const name = `${texts.meters[meter] ?? meter} ${texts.periods[period] ?? period}`;
	const [usedText, limitText] = [format.amount(meter, used), format.amount(meter, limit ?? 0)];

	return (
		<li class={`card gauge ${level}`}>
			<p>
				<strong>{name}</strong>{' '}
				<span>{format.number(Math.round(percent * 10) / 10)} %</span>
			</p>
			<div
				role="meter"
				aria-label={texts.gauge(name, usedText, limitText)}
				aria-valuemin={0}
				aria-valuemax={100}
				aria-valuenow={Math.min(100, percent)}
			>
				<div style={{ width: `${Math.min(100, percent)}%` }} />
			</div>
			<p class="hint">
				{[
					`${usedText} / ${limitText}`,
					level === 'full' ? texts.atLimit : level === 'near' ? texts.nearLimit : '',
					end === null ? '' : texts.until(end),
					enforcement === 'soft' ? texts.soft : '',
				]
					.filter(Boolean)
					.join(' · ')}
			</p>
		</li>
	);
}

/** The month before this one. */
function lastMonth(): { from: string; to: string } {
	const now = new Date();
	const first = (back: number) =>
		new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1))
			.toISOString()
			.slice(0, 10);

	return { from: first(1), to: first(0) };
}

function Invoice() {
	const { api } = useApp();
	const [range, setRange] = useState(lastMonth);
	const [lines, setLines] = useState<InvoiceLine[] | string | null>(null);

	const show = (event: Event) => {
		event.preventDefault();
		api.get<{ lines: InvoiceLine[] }>('/invoice', range).then(
			({ lines: found }) => setLines(found),
			(error: unknown) =>
				setLines(
					error instanceof Refused && error.status === 403
						? texts.invoiceHint
						: texts.failed(messageOf(error)),
				),
		);
	};
	return (
		<section class="card">
			<h2>{texts.invoice}</h2>
			<form class="filters" onSubmit={show}>
				<p>
					<label for="invoice-from">{texts.from}</label>
					<input
						id="invoice-from"
						type="date"
						required
						value={range.from}
						onChange={({ currentTarget }) =>
							setRange({ ...range, from: currentTarget.value })
						}
					/>
				</p>
				<p>
					<label for="invoice-to">{texts.to}</label>
					<input
						id="invoice-to"
						type="date"
						required
						value={range.to}
						onChange={({ currentTarget }) =>
							setRange({ ...range, to: currentTarget.value })
						}
					/>
				</p>
				<p>
					<button type="submit">{texts.show}</button>
				</p>
			</form>
			{typeof lines === 'string' && <p role="alert">{lines}</p>}
			{Array.isArray(lines) && (
				<Table
					caption={texts.invoice}
					head={[texts.component, texts.model, texts.quantity, texts.amount]}
					rows={lines.map((line) => [
						line.description ?? line.component ?? '',
						line.model ?? '',
						line.quantity === null ? '' : format.number(line.quantity),
						format.money(line.amount),
					])}
				/>
			)}
		</section>
	);
}
