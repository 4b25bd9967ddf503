#!/usr/bin/python3
"""Makes the user root of a server that knows nobody yet; one that is there gets the password."""

import os
import pymongo

admin = pymongo.MongoClient("127.0.0.1", 27017, serverSelectionTimeoutMS=30_000).admin
name, password = os.environ["MONGO_INITDB_ROOT_USERNAME"], os.environ["MONGO_INITDB_ROOT_PASSWORD"]
known = admin.command("usersInfo", name)["users"]
admin.command("updateUser" if known else "createUser", name, pwd=password, roles=[{"role": "root", "db": "admin"}])
