// Import by drag and drop or a file dialog, and export.
import { exportFormats } from '@memory-ext/types/transfer';
import { useEffect, useState } from 'preact/hooks';
import type { Imported } from './api.js';
import { messageOf, useApp } from './context.js';
import { texts } from './texts.js';

type Job =
	| { state: 'sending'; name: string; part: number }
	| { state: 'done'; name: string; result: Imported }
	| { state: 'failed'; name: string; message: string };

/** The imports of this page, whichever view is shown. */
let jobs: Job[] = [];
const listeners = new Set<() => void>();

function setJob(index: number, job: Job): void {
	jobs = jobs.map((one, n) => (n === index ? job : one));
	listeners.forEach((listener) => listener());
}

function useJobs(): Job[] {
	const [, redraw] = useState(0);

	useEffect(() => {
		const listener = () => redraw((before) => before + 1);
		listeners.add(listener);
		return () => void listeners.delete(listener);
	}, []);
	return jobs;
}

/** One file after the other. */
function useImport(): (files: Iterable<File>) => Promise<void> {
	const { api } = useApp();

	return async (files) => {
		location.hash = '#/transfer';
		for (const file of files) {
			const index = jobs.length;
			jobs = [...jobs, { state: 'sending', name: file.name, part: 0 }];
			setJob(index, { state: 'sending', name: file.name, part: 0 });
			try {
				const result = await api.importFile(file, (part) =>
					setJob(index, { state: 'sending', name: file.name, part }),
				);
				setJob(index, { state: 'done', name: file.name, result });
			} catch (error) {
				setJob(index, { state: 'failed', name: file.name, message: messageOf(error) });
			}
		}
	};
}

/** The whole page takes a file. */
export function DropTarget() {
	const [over, setOver] = useState(false);
	const run = useImport();

	useEffect(() => {
		const isFile = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
		const drag = (event: DragEvent) => {
			if (!isFile(event))
				return;
			event.preventDefault();
			setOver(true);
		};
		const leave = (event: DragEvent) => event.relatedTarget === null && setOver(false);
		const drop = (event: DragEvent) => {
			if (!isFile(event))
				return;
			event.preventDefault();
			setOver(false);
			void run([...(event.dataTransfer?.files ?? [])]);
		};
		addEventListener('dragover', drag);
		addEventListener('dragleave', leave);
		addEventListener('drop', drop);
		return () => {
			removeEventListener('dragover', drag);
			removeEventListener('dragleave', leave);
			removeEventListener('drop', drop);
		};
	}, [run]);
	return over ? (
		<div class="drop" role="status">
			{texts.dropHere}
		</div>
	) : null;
}

export function Transfer() {
	const { api, say, offline } = useApp();
	const list = useJobs();
	const run = useImport();
	const [format, setFormat] = useState<string>('native');
	const [saved, setSaved] = useState('');
	const [busy, setBusy] = useState(false);

	const save = async () => {
		setBusy(true);
		try {
			const blob = await api.exportFile(format);
			const name = `memory-${format}-${new Date().toISOString().slice(0, 10)}.${format === 'csv' ? 'csv' : 'ndjson'}`;
			const link = Object.assign(document.createElement('a'), {
				href: URL.createObjectURL(blob),
				download: name,
			});
			link.click();
			// The download has begun when the next task runs.
			setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
			setSaved(texts.exported(name, blob.size));
		} catch (error) {
			say(texts.failed(messageOf(error)));
		}
		setBusy(false);
	};
	return (
		<div class="page">
			<h1>{texts.transfer}</h1>
			<section class="card">
				<h2>{texts.importTitle}</h2>
				<p id="import-hint">{texts.importHint}</p>
				<p>
					<label for="file">{texts.chooseFile}</label>
					<input
						id="file"
						type="file"
						multiple
						disabled={offline}
						accept=".json,.jsonl,.ndjson,.csv"
						aria-describedby="import-hint"
						onChange={({ currentTarget }) => {
							void run([...(currentTarget.files ?? [])]);
							currentTarget.value = '';
						}}
					/>
				</p>
				{list.map((job, n) => (
					<JobView key={n} job={job} />
				))}
			</section>
			<section class="card">
				<h2>{texts.exportTitle}</h2>
				<p>{texts.exportHint}</p>
				<p class="actions">
					<label for="format">{texts.exportFormat}</label>
					<select
						id="format"
						value={format}
						onChange={({ currentTarget }) => setFormat(currentTarget.value)}
					>
						{[...exportFormats, 'csv'].map((name) => (
							<option key={name} value={name}>
								{name}
							</option>
						))}
					</select>
					<button type="button" disabled={busy || offline} onClick={() => void save()}>
						{texts.exportNow}
					</button>
				</p>
				<p role="status" class="hint">
					{busy ? texts.loading : saved}
				</p>
			</section>
		</div>
	);
}

function JobView({ job }: { job: Job }) {
	if (job.state === 'failed')
		return (
			<p role="alert" class="error">
				{job.name}: {texts.failed(job.message)}
			</p>
		);
	if (job.state === 'sending')
		return (
			<p role="status">
				<span>{job.part < 1 ? texts.importing(job.name) : texts.storing}</span>
				<progress
					aria-label={texts.importing(job.name)}
					value={job.part < 1 ? job.part : undefined}
				/>
			</p>
		);
	const { imported, messages, extended, unchanged, rejected, errors } = job.result;
	return (
		<div role="status">
			<p>
				<strong>{job.name}</strong>: {texts.imported(imported, messages)}
			</p>
			<p class="hint">{texts.importCounts(extended, unchanged, rejected)}</p>
			{errors.length > 0 && (
				<div class="scroll" tabIndex={0} role="region" aria-label={texts.rejects}>
					<table>
						<caption>{texts.rejects}</caption>
						<thead>
							<tr>
								<th scope="col">{texts.document}</th>
								<th scope="col">{texts.line}</th>
								<th scope="col">{texts.reason}</th>
								<th scope="col">{texts.where}</th>
								<th scope="col">{texts.excerpt}</th>
							</tr>
						</thead>
						<tbody>
							{errors.map((error, n) => (
								<tr key={n}>
									<td>{error.document}</td>
									<td>{error.line}</td>
									<td>{error.message ?? error.reason}</td>
									<td>{error.path}</td>
									<td>
										<code>{error.excerpt}</code>
									</td>
								</tr>
							))}
						</tbody>
					</table>
				</div>
			)}
		</div>
	);
}
