"""An IOC with what EPICS base has not: caproto's motor record, and a busy: `--port N`.

`C:PUTS` counts what was written to either. `C:P` says that it is an ao, and has no drive limits.
"""

import argparse
import os

from caproto.server import PVGroup, pvproperty, run

from demo.process import add_until_eof, end_when_told


class Records(PVGroup):
    puts = pvproperty(name="PUTS", value=0)
    motor = pvproperty(name="M", value=1.0, record="motor")
    busy = pvproperty(name="B", value=0)
    busy_type = pvproperty(name="B.RTYP", value="busy", dtype=str)
    busy_name = pvproperty(name="B.NAME", value="C:B", dtype=str)

    plain = pvproperty(name="P", value=1.0)
    plain_type = pvproperty(name="P.RTYP", value="ao", dtype=str)
    plain_name = pvproperty(name="P.NAME", value="C:P", dtype=str)

    @motor.putter
    async def motor(self, _instance: object, _value: float) -> None:
        await self.puts.write(self.puts.value + 1)

    @busy.putter
    async def busy(self, _instance: object, _value: float) -> None:
        await self.puts.write(self.puts.value + 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    add_until_eof(parser)
    arguments = parser.parse_args()
    end_when_told(until_eof=arguments.until_eof)
    os.environ |= {
        "EPICS_CA_SERVER_PORT": str(arguments.port),
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    }
    records = Records(prefix="C:")

    async def ready(_library: object) -> None:
        fields = records.motor.field_inst
        await fields.user_offset.write(10.0)
        await fields.user_direction.write(1)
        await fields.dial_low_limit.write(-10.0)
        await fields.dial_high_limit.write(30.0)
        await fields.user_low_limit.write(-20.0)
        await fields.user_high_limit.write(20.0)
        print("ready", flush=True)  # noqa: T201

    run(records.pvdb, interfaces=["127.0.0.1"], startup_hook=ready, log_pv_names=False)


if __name__ == "__main__":
    main()
