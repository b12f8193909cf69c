# shellcheck shell=bash
# What clients/test/run and clients/demo/run share: Node, the packages, and a server that listens
# on 127.0.0.1 beside its socket.
#
# Exports PGHOST (the socket), PGPORT, PGUSER and PGDATABASE, and for programs that know no
# sockets MEMORY_EXT_TCP_HOST.

# shellcheck source=test/lib/private-server.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../test/lib/private-server.sh"

CLIENTS=$PROJECT/clients
NODE_MAJOR=20			# the oldest that the packages run on
NODE_OF_NPM=22			# what is fetched where the system's is older
CALLER_HOME=$HOME

node_major()
{
	node --version 2> /dev/null | sed -nE 's/^v([0-9]+)\..*/\1/p'
}

# ensure_node: Node and npm from Debian where they lack.  Debian 12's Node is too old for the
# packages; there the same program comes from npm's package "node", into clients/node_modules/.node.
ensure_node()
{
	local missing=() major own=$CLIENTS/node_modules/.node

	type -P node > /dev/null || missing+=(nodejs)
	type -P npm > /dev/null || missing+=(npm)
	[ ${#missing[@]} = 0 ] || {
		[ "$(id -u)" = 0 ] ||
			die "packages are missing: sudo apt-get install --no-install-recommends ${missing[*]}"
		update_lists
		install_packages "${missing[*]}"
	}
	major=$(node_major)
	[ "${major:-0}" -lt "$NODE_MAJOR" ] || return 0
	if [ ! -x "$own/node_modules/node/bin/node" ]; then
		say "fetching Node $NODE_OF_NPM: here is $(node --version)"
		mkdir -p "$own"
		npm install --prefix "$own" --no-audit --no-fund --no-save --silent "node@$NODE_OF_NPM" ||
			die "npm could not install node@$NODE_OF_NPM"
	fi
	export PATH=$own/node_modules/node/bin:$PATH
	major=$(node_major)
	[ "${major:-0}" -ge "$NODE_MAJOR" ] || die "Node $NODE_MAJOR or newer is needed"
}

# ensure_chromium: the browser of the tests, from Debian.
ensure_chromium()
{
	type -P chromium > /dev/null && return 0
	[ "$(id -u)" = 0 ] || die "packages are missing: sudo apt-get install --no-install-recommends chromium"
	update_lists
	install_packages chromium
}

# ensure_fonts: what the sample data are written in.
ensure_fonts()
{
	[ -d /usr/share/fonts/truetype/wqy ] && [ -d /usr/share/fonts/truetype/dejavu ] && return 0
	[ "$(id -u)" = 0 ] ||
		die "packages are missing: sudo apt-get install --no-install-recommends fonts-dejavu-core fonts-wqy-microhei"
	update_lists
	install_packages "fonts-dejavu-core fonts-wqy-microhei"
}

# fetch_packages: what package-lock.json names, unless it is there already.
fetch_packages()
{
	local stamp=$CLIENTS/node_modules/.lock-stamp sum

	sum=$(cat "$CLIENTS/package-lock.json" "$CLIENTS/package.json" "$CLIENTS"/*/package.json | sha256sum)
	[ "$(cat "$stamp" 2> /dev/null)" != "$sum" ] || return 0
	say "fetching the packages of package-lock.json"
	[ ! -d "$CLIENTS/node_modules/.node" ] || mv "$CLIENTS/node_modules/.node" "$STAGE/tmp/node"
	HOME=$CALLER_HOME npm ci --prefix "$CLIENTS" --no-audit --no-fund --silent || die "npm ci failed"
	[ ! -d "$STAGE/tmp/node" ] || mv "$STAGE/tmp/node" "$CLIENTS/node_modules/.node"
	echo "$sum" > "$stamp"
}

build_extension()
{
	say "building with $("$PG_CONFIG" --version)"
	build || die "the build failed"
	make_private_tree
}

free_port()
{
	node -e 'const s = require("net").createServer().listen(0, "127.0.0.1",
		() => { console.log(s.address().port); s.close(); })'
}

# start_clients_server [line of postgresql.conf ...]
start_clients_server()
{
	local port

	say "starting a temporary server"
	port=$(free_port)
	start_server clients "listen_addresses = '127.0.0.1'" "port = $port" \
		"shared_preload_libraries = 'memory_ext'" "max_connections = 200" "$@"
	export PGPORT=$port MEMORY_EXT_TCP_HOST=127.0.0.1
}

# workspaces: the packages, in the order of package.json
workspaces()
{
	node -p 'require("./package.json").workspaces.join(" ")'
}
