from answer import ANSWER
from flask import Flask

app = Flask(__name__)


@app.get("/")
def page():
    return ANSWER
