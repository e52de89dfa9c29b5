"""`python -m jevons.engines.simulated`: the provider simulator as a process."""

import argparse
import asyncio
import ssl
import sys
from pathlib import Path

import msgspec

from jevons.engines.simulated import Script, listen
from jevons.engines.simulated.books import Books
from jevons.engines.simulated.service import Service


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jevons.engines.simulated", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; the address is printed")
    parser.add_argument("--script", type=Path, help="a JSON file: rules, orgs, delays (docs/simulator.md)")
    parser.add_argument("--seed", type=int, default=0, help="fixes which rules with a rate fire")
    parser.add_argument("--cert", type=Path, help="serve TLS with this certificate chain")
    parser.add_argument("--key", type=Path)
    return parser.parse_args()


async def serve(args: argparse.Namespace, script: Script) -> None:
    tls = None
    if args.cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(args.cert, args.key)
    server = await listen(Service(Books(), script, seed=args.seed), args.host, args.port, tls)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"{'https' if tls else 'http'}://{args.host}:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> int:
    args = arguments()
    try:
        script = msgspec.json.decode(args.script.read_bytes(), type=Script) if args.script else Script()
        asyncio.run(serve(args, script))
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
