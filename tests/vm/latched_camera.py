#!/usr/bin/env python3
"""A GigE Vision camera with a clock that can be latched: what the fake camera of aravis lacks.

usage: latched_camera.py OWN_ADDRESS CAMERA_ADDRESS SERIAL

Stands before a fake camera: control (GVCP, UDP port 3956) and stream (GVSP) go through it, under its own address and serial number.
The timestamp registers of the bootstrap block (GigE Vision 2.0, 0x0944 control, 0x0948 value) are its own: a latch takes the time by
which the fake camera stamps its frames, the system's real-time clock in nanoseconds.
"""

import select
import socket
import struct
import sys
import time

PORT, KEY = 3956, 0x42
DISCOVERY, READ_REGISTER, WRITE_REGISTER, READ_MEMORY = 0x0002, 0x0080, 0x0082, 0x0084
ADDRESS_AT, SERIAL_AT, SERIAL_BYTES = 0x24, 0xD8, 16
FREQUENCY_HIGH, FREQUENCY_LOW, CONTROL, VALUE_HIGH, VALUE_LOW = 0x093C, 0x0940, 0x0944, 0x0948, 0x094C
LATCH = 2
STREAM_PORT, STREAM_ADDRESS = 0x0D00, 0x0D18


def main():
    own, camera, serial = sys.argv[1:]
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    control.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    control.bind(("", PORT))
    upstream, stream = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    upstream.connect((camera, PORT))
    stream.bind((own, 0))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    asks, target = {}, [None, None]
    registers = {FREQUENCY_HIGH: 0, FREQUENCY_LOW: 1_000_000_000, VALUE_HIGH: 0, VALUE_LOW: 0}

    def ask(packet, sender):
        """A command on its way to the camera."""
        key, _, command, _, number = struct.unpack(">BBHHH", packet[:8])
        if key != KEY:
            return
        body = bytearray(packet[8:])
        if command == WRITE_REGISTER:
            for at in range(0, len(body), 8):
                register, value = struct.unpack_from(">II", body, at)
                if register == CONTROL and value == LATCH:
                    now = time.time_ns()
                    registers[VALUE_HIGH], registers[VALUE_LOW] = now >> 32, now & 0xFFFFFFFF
                elif register == STREAM_ADDRESS:
                    target[0] = socket.inet_ntoa(struct.pack(">I", value)) if value else None
                    struct.pack_into(">I", body, at + 4, value and struct.unpack(">I", socket.inet_aton(own))[0])
                elif register == STREAM_PORT:
                    target[1] = value & 0xFFFF
                    struct.pack_into(">I", body, at + 4, (value & 0xFFFF0000) | (stream.getsockname()[1] if target[1] else 0))
        asks[number] = (sender, command, bytes(body))
        upstream.send(packet[:8] + body)

    def answer(packet):
        """What the camera says to one."""
        number = struct.unpack(">H", packet[6:8])[0]
        if number not in asks:
            return
        sender, command, asked = asks.pop(number)
        body = bytearray(packet[8:])
        if command == DISCOVERY:
            body[ADDRESS_AT : ADDRESS_AT + 4] = socket.inet_aton(own)
            body[SERIAL_AT : SERIAL_AT + SERIAL_BYTES] = serial.encode().ljust(SERIAL_BYTES, b"\0")
        elif command == READ_REGISTER:
            for k in range(len(asked) // 4):
                register = struct.unpack_from(">I", asked, 4 * k)[0]
                if register in registers:
                    struct.pack_into(">I", body, 4 * k, registers[register])
        elif command == READ_MEMORY and len(body) > 4:
            first = struct.unpack_from(">I", body)[0]
            for register, value in registers.items():
                if first <= register <= first + len(body) - 8:
                    struct.pack_into(">I", body, 4 + register - first, value)
        control.sendto(packet[:8] + body, sender)

    while True:
        for ready in select.select([control, upstream, stream], [], [])[0]:
            packet, sender = ready.recvfrom(16384)
            if ready is control:
                ask(packet, sender)
            elif ready is upstream:
                answer(packet)
            elif all(target):
                stream.sendto(packet, tuple(target))


main()
