<?php const ANSWER = "one";
