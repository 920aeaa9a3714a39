throw new Error('no data here');
