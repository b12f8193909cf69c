// All that the page says, in one place.
const number = new Intl.NumberFormat('en');
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
const money = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const date = new Intl.DateTimeFormat('en', { dateStyle: 'medium' });
const time = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });
const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];

export const format = {
	number: (value: number): string => number.format(value),
	compact: (value: number): string => compact.format(value),
	money: (value: number | null): string =>
		value === null ? texts.priceMissing : money.format(value),
	date: (value: string | number): string => date.format(new Date(value)),
	time: (value: string): string => time.format(new Date(value)),
	bytes(value: number): string {
		const unit = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), units.length - 1);
		return `${number.format(Math.round((value / 1000 ** unit) * 10) / 10)} ${units[unit]}`;
	},
	amount: (meter: string, value: number): string =>
		meter === 'content_bytes'
			? format.bytes(value)
			: meter === 'cost'
				? money.format(value)
				: number.format(value),
};

export const texts = {
	name: 'Memory',
	// who
	tokenLabel: 'Access token',
	tokenHint: 'Your application or its operator gives you one.',
	signIn: 'Sign in',
	signOut: 'Sign out',
	tokenRefused: 'The token is not accepted, or has expired. Sign in again.',
	// where
	navigation: 'Pages',
	conversations: 'Conversations',
	search: 'Search',
	usage: 'Usage and costs',
	quotas: 'Quotas and invoices',
	transfer: 'Import and export',
	back: 'Back to the list',
	skip: 'Skip to the content',
	// how it is
	live: 'Live',
	connecting: 'Connecting…',
	offline: 'Offline. What you see may be old; changes cannot be made.',
	loading: 'Loading…',
	failed: (what: string): string => `It did not work: ${what}`,
	undone: (what: string, why: string): string => `${what} was undone: ${why}`,
	close: 'Close',
	// list
	untitled: 'Untitled',
	messages: (count: number): string =>
		count === 1 ? '1 message' : `${format.number(count)} messages`,
	noConversations:
		'There are no conversations yet. Import some, or begin one in your application.',
	noArchived: 'No conversation is archived.',
	showing: 'Show',
	current: 'Current',
	archived: 'Archived',
	choose: 'Choose a conversation from the list.',
	keys: 'Keys: / search, j and k or arrows move, Enter opens, Escape closes.',
	// search
	searchLabel: 'Words to find',
	searchHint: 'All words must be in a message; "a phrase" in quotes, -word excludes.',
	role: 'Role',
	anyRole: 'Any role',
	roles: { user: 'User', assistant: 'Assistant', system: 'System', tool: 'Tool' } as Record<
		string,
		string
	>,
	model: 'Model',
	anyModel: 'Any',
	from: 'From',
	to: 'To',
	includeArchived: 'Archived too',
	more: 'Show more',
	nothingFound: 'Nothing was found.',
	found: (count: number, more: boolean): string =>
		`${format.number(count)}${more ? ' or more' : ''} found`,
	// conversation
	conversation: 'Conversation',
	rename: 'Rename',
	title: 'Title',
	archive: 'Archive',
	unarchive: 'Take out of the archive',
	remove: 'Delete',
	edit: 'Edit',
	save: 'Save',
	cancel: 'Cancel',
	content: 'Text of the message',
	noMessages: 'This conversation has no messages.',
	gone: 'This conversation does not exist any more.',
	deleteConversation: (title: string): string =>
		`Delete “${title}” with all its messages? This is final.`,
	deleteMessage: 'Delete this message? What answers it stays. This is final.',
	branch: (n: number, of: number): string => `Branch ${n} of ${of}`,
	previousBranch: 'Previous branch',
	nextBranch: 'Next branch',
	makeCurrent: 'Continue from this branch',
	tokens: (count: number): string => (count === 1 ? '1 token' : `${format.number(count)} tokens`),
	renamed: 'The new title',
	archivedWas: 'Archiving',
	deletedWas: 'Deleting',
	editedWas: 'The edit',
	branchWas: 'The choice of the branch',
	// import and export
	importTitle: 'Import',
	importHint:
		'Exports of ChatGPT, Claude and others as JSON, or messages as CSV. Drop a file anywhere on this page.',
	chooseFile: 'Choose a file',
	dropHere: 'Drop the file to import it',
	importing: (name: string): string => `Importing ${name}`,
	storing: 'The file has arrived and is being stored…',
	imported: (n: number, messages: number): string =>
		`${n === 1 ? '1 conversation' : `${format.number(n)} conversations`} with ${texts.messages(messages)} imported`,
	importCounts: (extended: number, unchanged: number, rejected: number): string =>
		`${format.number(extended)} extended, ${format.number(unchanged)} unchanged, ${format.number(rejected)} rejected`,
	rejects: 'What was rejected or mended',
	document: 'Document',
	line: 'Line',
	reason: 'Reason',
	where: 'Where',
	excerpt: 'Excerpt',
	exportTitle: 'Export',
	exportHint: 'All of your conversations, as one file.',
	exportFormat: 'Format',
	exportNow: 'Export',
	exported: (name: string, bytes: number): string => `${name} (${format.bytes(bytes)}) was saved`,
	// usage
	days: 'Days',
	period: (days: number): string => `Last ${days} days`,
	tokensByDay: 'Tokens by day',
	costByDay: 'Cost by day',
	inputTokens: 'Input tokens',
	outputTokens: 'Output tokens',
	cachedTokens: 'Cached input tokens',
	requests: 'Requests',
	cost: 'Cost',
	byModel: 'By model',
	noModel: 'No model',
	priceMissing: 'no price',
	noUsage: 'Nothing was used in this time.',
	costParts: 'Cost breakdown by model',
	inputCost: 'Input',
	cachedCost: 'Cached input',
	creationCost: 'Cache creation',
	outputCost: 'Output',
	total: 'Total',
	// quotas
	noQuotas: 'No limit applies to this account.',
	meters: {
		conversations: 'Conversations',
		messages: 'Messages',
		tokens: 'Tokens',
		content_bytes: 'Stored text',
		cost: 'Cost',
	} as Record<string, string>,
	periods: {
		current: 'now',
		lifetime: 'in all',
		hour: 'in this hour',
		day: 'today',
		week: 'this week',
		month: 'this month',
		year: 'this year',
	} as Record<string, string>,
	gauge: (meter: string, used: string, limit: string): string => `${meter}: ${used} of ${limit}`,
	nearLimit: 'Nearly used up',
	atLimit: 'Used up',
	until: (end: string): string => `until ${format.time(end)}`,
	soft: 'Reported, not enforced',
	invoice: 'Invoice',
	invoiceHint: 'Only an operator may see invoices; the one who runs this page decides.',
	show: 'Show',
	component: 'Item',
	quantity: 'Quantity',
	amount: 'Amount',
};
